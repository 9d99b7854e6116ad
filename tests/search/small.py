"""A small trained-like network, its data, and its table, for all tests of the searches."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

import mckp_quant as mq
from mckp_quant.network.batches import as_batches
from mckp_quant.search.space import Space

if TYPE_CHECKING:
    from mckp_quant.network.batch import Batch

FORMATS = "w2,w3,w4,w8"
DENSE = mq.Outputs(class_dim=1)  # of the network with a class for every position
MOVED = mq.Outputs(take=lambda returned: returned.movedim(1, -1).flatten(1, 2))  # the same by hand


def network() -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(36, 12),
        nn.ReLU(),
        nn.Linear(12, 3, bias=False),
    )
    model.load_state_dict(
        {name: 4 * value if name == "8.weight" else value for name, value in model.state_dict().items()}
    )
    return model.eval()


def data(seed: int = 1, samples: int = 48) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(samples, 1, 7, 7, generator=generator)
    return list(zip(inputs.split(16), (inputs.sum(dim=(1, 2, 3)) > 0).long().split(16), strict=True))


def batches() -> list[Batch]:
    return list(as_batches(data()))


@functools.cache
def table() -> mq.SensitivityTable:
    return mq.measure(network(), data(), formats=FORMATS)


def space(budget: str = "45%") -> Space:
    problem, index = mq.build(table(), {"weight_bytes": budget})
    return Space(table(), problem, index)


def dense_network() -> nn.Module:
    """Three classes for each of 25 positions: ``(N, 3, 5, 5)``."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 1), nn.ReLU(), nn.Conv2d(4, 3, 1)
    ).eval()


def dense_outputs() -> tuple[list[tuple[Tensor, Tensor]], list[tuple[Tensor, Tensor]]]:
    """Data of that network, with targets as a map and in a row."""
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(24, 2, 5, 5, generator=generator)
    targets = (inputs.sum(dim=1) > 0).long() + (inputs[:, 0] > 1).long()
    maps = list(zip(inputs.split(6), targets.split(6), strict=True))
    return maps, [(own, wanted.flatten(1)) for own, wanted in maps]


@functools.cache
def dense_table() -> mq.SensitivityTable:
    maps, _ = dense_outputs()
    return mq.measure(dense_network(), maps, formats=FORMATS, outputs=DENSE)


def state(model: nn.Module) -> dict[str, np.ndarray]:
    return {name: value.detach().numpy().copy() for name, value in model.state_dict().items()}


def same(before: dict[str, np.ndarray], after: dict[str, np.ndarray]) -> bool:
    return before.keys() == after.keys() and all(np.array_equal(before[name], after[name]) for name in before)
