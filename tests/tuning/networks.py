"""Small networks in which the last pass has to find its way: residuals, attention, groups, ties, routes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Residual(nn.Module):
    """Convolutions with batch norms, one of them grouped, around a shortcut."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.norm1 = nn.Conv2d(2, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.grouped, self.norm2 = nn.Conv2d(8, 8, 3, padding=1, groups=2, bias=False), nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 8, 3, stride=2, groups=8)
        self.head = nn.Linear(8 * 4, 5)

    def forward(self, images: Tensor) -> Tensor:
        hidden = torch.relu(self.norm1(self.first(images)))
        hidden = torch.relu(hidden + self.norm2(self.grouped(hidden)))
        made: Tensor = self.head(torch.relu(self.depthwise(hidden)).flatten(1))
        return made

    @staticmethod
    def data(samples: int = 64, seed: int = 0) -> list[Tensor]:
        generator = torch.Generator().manual_seed(seed)
        return list(torch.randn(samples, 2, 6, 6, generator=generator).split(16))


class Attention(nn.Module):
    """One block of a transformer; its head is the embedding's weight, and its perceptron runs twice."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.norm = nn.Embedding(11, 8), nn.LayerNorm(8)
        self.q, self.k, self.v, self.out = (nn.Linear(8, 8, bias=False) for _ in range(4))
        self.up = nn.Linear(8, 8)
        self.head = nn.Linear(8, 11, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        hidden = self.embed(input_ids)
        inner = self.norm(hidden)
        seen = None if attention_mask is None else attention_mask[:, None].bool()
        hidden = hidden + self.out(
            functional.scaled_dot_product_attention(self.q(inner), self.k(inner), self.v(inner), attn_mask=seen)
        )
        hidden = hidden + self.up(functional.gelu(self.up(hidden)))
        made: Tensor = self.head(hidden)
        return made

    @staticmethod
    def data(samples: int = 48, seed: int = 0) -> list[Tensor]:
        generator = torch.Generator().manual_seed(seed)
        return list(torch.randint(0, 11, (samples, 7), generator=generator).split(12))


class Routed(nn.Module):
    """Which of two layers runs depends on the batch."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.before, self.low, self.high, self.last = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = torch.relu(self.before(inputs))
        chosen = self.low(hidden) if float(inputs.mean()) < 0 else self.low(torch.relu(self.high(hidden)))
        made: Tensor = self.last(torch.relu(chosen))
        return made


def deep(layers: int, width: int = 6) -> nn.Module:
    """Linear layers with activations between them, and no norms."""
    torch.manual_seed(0)
    parts = [part for _ in range(layers) for part in (nn.Linear(width, width), nn.ReLU())]
    return nn.Sequential(*parts, nn.Linear(width, 4)).eval()
