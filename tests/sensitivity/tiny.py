"""Networks small enough for dense curvature matrices, in float64."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Callable

CLASSES = 3


class Perceptron(nn.Module):
    """Two linear layers; the first is called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)
        self.head = nn.Linear(4, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(torch.tanh(self.inner(torch.tanh(self.inner(x)))))
        return out


class ConvNet(nn.Module):
    """Plain, grouped, depthwise and transposed convolutions, batch norm, and ReLU in place after the first layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.grouped = nn.Conv2d(4, 4, 3, stride=2, padding=1, groups=2, bias=False)
        self.bn = nn.BatchNorm2d(4)
        self.depthwise = nn.Conv2d(4, 4, 2, groups=4)
        self.up = nn.ConvTranspose2d(4, 4, 2, stride=2, groups=2)
        self.head = nn.Linear(4, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.first(x))
        x = self.relu(self.bn(self.grouped(x)))
        x = self.relu(self.up(self.depthwise(x)))
        out: Tensor = self.head(x.mean((2, 3)))
        return out


class Transformer(nn.Module):
    """One attention block with GELU; the head shares the token embedding, positions are looked up without samples."""

    def __init__(self, *, tied: bool = True, positions: str = "module") -> None:
        super().__init__()
        d = 4
        self.tok = nn.Embedding(CLASSES, d)
        self.pos = nn.Embedding(5, d)
        self.norm = nn.LayerNorm(d)
        self.qkv = nn.Linear(d, 3 * d, bias=False)
        self.out = nn.Linear(d, d)
        self.up = nn.Linear(d, 6)
        self.down = nn.Linear(6, d)
        self.head = nn.Linear(d, CLASSES, bias=False)
        if tied:
            self.head.weight = self.tok.weight
        self.positions = positions

    def forward(self, tokens: Tensor) -> Tensor:
        n, t = tokens.shape
        x = self.tok(tokens)
        x = x + (self.pos(torch.arange(t)) if self.positions == "module" else self.pos.weight[:t])
        q, k, v = (z.view(n, t, 2, -1).transpose(1, 2) for z in self.qkv(self.norm(x)).chunk(3, dim=-1))
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(attended.transpose(1, 2).reshape(n, t, -1))
        x = x + self.down(F.gelu(self.up(x)))
        logits: Tensor = self.head(x)
        return logits


def perceptron(seed: int = 0) -> tuple[nn.Module, Tensor]:
    return _built(Perceptron, seed), _noise(seed, 12, 4)


def conv_net(seed: int = 0) -> tuple[nn.Module, Tensor]:
    model = _built(ConvNet, seed)
    generator = torch.Generator().manual_seed(seed)
    bn = model.get_submodule("bn")
    bn.get_buffer("running_mean").uniform_(-0.5, 0.1, generator=generator)
    bn.get_buffer("running_var").uniform_(0.1, 0.2, generator=generator)
    return model, _noise(seed, 10, 2, 6, 6)


def transformer(seed: int = 0, *, tied: bool = True, positions: str = "module") -> tuple[nn.Module, Tensor]:
    model = _built(lambda: Transformer(tied=tied, positions=positions), seed)
    return model, torch.randint(0, CLASSES, (8, 5), generator=torch.Generator().manual_seed(seed))


def _built(make: Callable[[], nn.Module], seed: int) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make().double().eval()


def _noise(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
