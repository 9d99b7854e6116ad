"""The demo network: a residual network for 8 x 8 images, small enough to ship and deep enough to allocate bits in."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

WIDTHS = (12, 24, 40)
CLASSES = 10


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions with batch norm around a shortcut (He et al. 2015, Deep residual learning).

    Where the width or the resolution changes, the shortcut is a 1 x 1 convolution with batch norm, else the identity.
    """

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or width_in != width:
            self.shortcut = nn.Sequential(nn.Conv2d(width_in, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, inputs: Tensor) -> Tensor:
        """From ``(n, width_in, h, w)`` to ``(n, width, h / stride, w / stride)``."""
        hidden = functional.relu(self.norm1(self.conv1(inputs)))
        return functional.relu(self.norm2(self.conv2(hidden)) + self.shortcut(inputs))


class DigitsNetwork(nn.Module):
    """Sixteen layers with weights, 78 thousand of them: a stem, three stages of two residual blocks, a linear head.

    The layers differ in size by a factor of more than a hundred, which is what makes bits worth allocating.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, WIDTHS[0], 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(WIDTHS[0])
        blocks: list[nn.Module] = []
        width_in = WIDTHS[0]
        for stage, width in enumerate(WIDTHS):
            blocks += [ResidualBlock(width_in, width, stride=2 if stage else 1), ResidualBlock(width, width, stride=1)]
            width_in = width
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(width_in, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """From ``(n, 1, 8, 8)`` images to ``(n, 10)`` logits."""
        hidden = self.blocks(functional.relu(self.norm(self.stem(images))))
        logits: Tensor = self.head(hidden.mean(dim=(2, 3)))
        return logits
