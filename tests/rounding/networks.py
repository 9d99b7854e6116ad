"""Small networks of one layer each, one for every way in which a weight is multiplied."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from mckp_quant import Layer


class Tied(nn.Module):
    """An embedding and a head with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 6)
        self.head = nn.Linear(6, 7, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        made: Tensor = self.head(torch.tanh(self.embedding(tokens)).cumsum(dim=1))
        return made


class Experts(nn.Module):
    """Two matrices, one of which each token is multiplied with."""

    def __init__(self, experts: int = 3, inner: int = 5, width: int = 4) -> None:
        super().__init__()
        self.num_experts = experts
        self.is_transposed = False
        self.up_proj = nn.Parameter(torch.randn(experts, inner, width))

    def forward(self, tokens: Tensor, chosen: Tensor) -> Tensor:
        made = tokens.new_zeros(len(tokens), self.up_proj.shape[1])
        for expert in chosen.unique().tolist():
            made[chosen == expert] = nn.functional.linear(tokens[chosen == expert], self.up_proj[expert])
        return made


class Mixture(nn.Module):
    """Experts behind a router that never takes the last of them."""

    def __init__(self) -> None:
        super().__init__()
        self.experts = Experts()

    def forward(self, tokens: Tensor) -> Tensor:
        made: Tensor = self.experts(tokens, (tokens[:, 0] > 0).long())
        return made


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _layer(module: nn.Module, *shape: int) -> tuple[nn.Module, Tensor]:
    return nn.Sequential(module), draw(5, *shape)


def networks() -> dict[str, tuple[nn.Module, Tensor]]:
    """By what they show: a network with its own weights, always the same, and a batch for it."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return {
            "linear": _layer(nn.Linear(9, 5), 40, 9),
            "linear on sequences": _layer(nn.Linear(6, 5), 8, 5, 6),
            "conv1d": _layer(nn.Conv1d(3, 4, 3, padding="same"), 4, 3, 11),
            "conv2d": _layer(nn.Conv2d(3, 4, 3, padding=1), 3, 3, 6, 6),
            "conv2d, many places": _layer(nn.Conv2d(3, 4, (3, 2), padding=(1, 2)), 6, 3, 10, 9),
            "stride and dilation": _layer(
                nn.Conv2d(2, 4, (3, 2), stride=(2, 1), dilation=(1, 2), padding=(2, 1)), 5, 2, 7, 6
            ),
            "reflected": _layer(nn.Conv2d(2, 4, 3, padding=1, padding_mode="reflect"), 4, 2, 5, 5),
            "circular": _layer(nn.Conv1d(2, 4, 3, padding=1, padding_mode="circular"), 6, 2, 9),
            "conv3d": _layer(nn.Conv3d(2, 3, 2, padding=1), 3, 2, 3, 4, 3),
            "grouped": _layer(nn.Conv2d(4, 6, 3, groups=2), 4, 4, 6, 6),
            "depthwise": _layer(nn.Conv2d(4, 8, 3, groups=4, padding=1), 4, 4, 5, 5),
            "transposed": _layer(nn.ConvTranspose2d(3, 4, 3, stride=2, padding=1, output_padding=1), 4, 3, 4, 4),
            "transposed, grouped": _layer(nn.ConvTranspose1d(4, 6, 3, stride=2, groups=2, output_padding=1), 8, 4, 5),
            "transposed, dilated": _layer(nn.ConvTranspose1d(3, 2, 3, stride=2, padding=1, dilation=2), 8, 3, 5),
            "transposed in space": _layer(nn.ConvTranspose3d(2, 3, 2, stride=2), 4, 2, 2, 2, 2),
            "embedding": (nn.Sequential(nn.Embedding(11, 6)), torch.arange(22).reshape(2, 11) % 11),
            "tied": (Tied(), torch.arange(40).reshape(4, 10) % 7),
            "experts": (Mixture(), draw(5, 60, 4)),
        }


NAMES = tuple(networks())


def layer_of(name: str) -> tuple[nn.Module, Tensor, Layer]:
    """A network, its batch and its only layer."""
    from mckp_quant.network import discover
    from mckp_quant.network.batch import Batch

    model, batch = networks()[name]
    (found,) = discover(model, Batch(batch, None, len(batch), 0))
    return model, batch, found
