"""A network with depthwise convolutions, trained on the digits of the demo: the hard case of few bits.

    python -m benchmarks.trained.depthwise train --output FILE.safetensors

Its weights are not kept in the repository: whoever needs them trains them, some two minutes of one core, and gets the
same ones on the same machine.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from mckp_quant.demo import digits
from mckp_quant.demo.train import accuracy, jitter

from ..command_line import Command, say

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

STEM, EXPANSION, CLASSES = 16, 4, 10
STAGES = ((16, 1), (24, 2), (24, 1), (40, 2), (40, 1), (40, 1))  # width, stride
EPOCHS, BATCH, PEAK_RATE, WEIGHT_DECAY = 40, 32, 4e-3, 2e-2


class InvertedResidual(nn.Module):
    """Widen, filter every channel by itself, narrow (Sandler et al. 2018, MobileNetV2)."""

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        inner = EXPANSION * width_in
        self.widen = nn.Conv2d(width_in, inner, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(inner)
        self.filter = nn.Conv2d(inner, inner, 3, stride, padding=1, groups=inner, bias=False)
        self.norm2 = nn.BatchNorm2d(inner)
        self.narrow = nn.Conv2d(inner, width, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(width)
        self.shortcut = stride == 1 and width_in == width

    def forward(self, inputs: Tensor) -> Tensor:
        """From ``(n, width_in, h, w)`` to ``(n, width, h / stride, w / stride)``."""
        hidden = functional.relu6(self.norm1(self.widen(inputs)))
        hidden = functional.relu6(self.norm2(self.filter(hidden)))
        outputs: Tensor = self.norm3(self.narrow(hidden))
        return inputs + outputs if self.shortcut else outputs


class DepthwiseNetwork(nn.Module):
    """Twenty layers with weights: a stem, six inverted residuals, a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, STEM, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(STEM)
        widths = [STEM, *(width for width, _ in STAGES)]
        self.blocks = nn.Sequential(
            *(InvertedResidual(widths[at], width, stride) for at, (width, stride) in enumerate(STAGES))
        )
        self.head = nn.Linear(widths[-1], CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """From ``(n, 1, 8, 8)`` images to ``(n, 10)`` logits."""
        hidden = self.blocks(functional.relu6(self.norm(self.stem(images))))
        logits: Tensor = self.head(hidden.mean(dim=(2, 3)))
        return logits


@functools.cache
def trained(epochs: int = EPOCHS, seed: int = 0) -> nn.Module:
    """Train on the training part of the digits; in eval mode, the same for every call."""
    part = digits.load().training
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = DepthwiseNetwork()
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, weight_decay=WEIGHT_DECAY)
    steps = epochs * math.ceil(len(part.images) / BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=PEAK_RATE, total_steps=steps, pct_start=0.2)
    for _ in range(epochs):
        for batch in torch.randperm(len(part.images), generator=generator).split(BATCH):
            loss = functional.cross_entropy(model(jitter(part.images[batch], generator)), part.labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def main(arguments: Sequence[str] | None = None) -> int:
    """Train and write the weights; 0."""
    command = Command(__doc__, ("train",))
    command.file("--output", help="the weights, .safetensors")
    return command.run(arguments, _run)


def _run(options: argparse.Namespace) -> int:
    torch.set_num_threads(1)
    model = trained()
    data = digits.load()
    say(f"held-out accuracy {100 * accuracy(model, data.held_out):.2f} % on {len(data.held_out.images)} images")
    if options.output is not None:
        save_file(model.state_dict(), options.output)
        say(f"wrote {options.output}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
