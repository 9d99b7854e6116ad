"""The three networks of the sensitivity benchmark, their data, and the policies that predictions are held against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

import mckp_quant as mq
from mckp_quant import demo

from ..policies.networks import FILES, load_networks

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor, nn

    Pair = tuple[Tensor, Tensor]

FORMATS = "w8,w4,w3,w2"
# Formats that a policy mixes, and the bits a weight that all policies of the family take on average.
FAMILIES = {"w2,w3,w4": 3.0, "w3,w4,w8": 4.5, "w2,w3,w4,w8": 4.0}


@dataclass(frozen=True)
class Study:
    """A network, inputs to measure on, and other inputs to judge on.

    Attributes
    ----------
    name
        What a reader calls it.
    model
        In eval mode.
    pool
        Inputs and targets from which each seed draws its calibration inputs. None was trained on.
    judges
        Others, in batches.
    calibration
        How many a seed draws.
    batch
        How many make a batch.
    timed
        Batches for the clock.
    traced
        One batch for traces of the whole network.
    layer
        One whose trace is looked at closely.
    """

    name: str
    model: nn.Module
    pool: Pair
    judges: list[Pair]
    calibration: int
    batch: int
    timed: list[Pair]
    traced: Pair
    layer: str

    def drawn(self, seed: int) -> list[Pair]:
        """The calibration batches of a seed."""
        picks = torch.randperm(len(self.pool[0]), generator=torch.Generator().manual_seed(seed))[: self.calibration]
        return batched((self.pool[0][picks], self.pool[1][picks]), self.batch)


def batched(data: Pair, size: int) -> list[Pair]:
    """Batches of so many."""
    return list(zip(data[0].split(size), data[1].split(size), strict=True))


def _study(
    name: str, model: nn.Module, pool: Pair, judges: Pair, calibration: int, batch: int, traced: int, layer: str
) -> Study:
    clocked = batched((pool[0][: 4 * batch], pool[1][: 4 * batch]), batch)
    one = (pool[0][:traced], pool[1][:traced])
    return Study(name, model, pool, batched(judges, batch), calibration, batch, clocked, one, layer)


def _digits(folder: Path | None, images: int) -> Study:
    pool, judges = (
        tuple(torch.cat(each) for each in zip(*part, strict=True)) for part in (demo.calibration(), demo.held_out())
    )
    held_out = (judges[0][:images], judges[1][:images])
    return _study("digits", demo.model(), (pool[0], pool[1]), held_out, images, 64, images, "blocks.3.conv2")


def _resnet20(folder: Path | None, images: int) -> Study:
    assert folder is not None
    networks = load_networks(folder)
    x, y = networks.cifar10(folder, "test")
    pool, judges = (x[:761], y[:761]), (x[1017 - images :], y[1017 - images :])
    return _study("ResNet-20", networks.resnet20(folder), pool, judges, images, 32, 64, "layer3.1.conv1")


def _chargpt(folder: Path | None, images: int) -> Study:
    assert folder is not None
    networks = load_networks(folder)
    x, y = networks.shakespeare(folder, "validation")
    windows = images // 4
    pool, judges = (x[:512], y[:512]), (x[-windows:], y[-windows:])
    return _study("transformer", networks.chargpt(folder), pool, judges, windows, 8, 16, "blocks.3.down")


NETWORKS: dict[str, Callable[[Path | None, int], Study]] = {
    "digits": _digits,
    "resnet20": _resnet20,
    "chargpt": _chargpt,
}
NEEDED = {"digits": (), **FILES}


def study(name: str, folder: Path | None, images: int) -> Study:
    """A network by its name.

    Parameters
    ----------
    name
        One of `NETWORKS`.
    folder
        That of `benchmarks.policies.networks`.
    images
        Images for calibration, and as many to judge on; the transformer takes a quarter as many windows of text.
    """
    return NETWORKS[name](folder, images)


def equal_size_policies(table: mq.SensitivityTable, family: str, seed: int, count: int) -> list[NDArray[np.int64]]:
    """Draw formats of a family for all layers, changed at random until their weights take its average of bits.

    Parameters
    ----------
    table
        Whose layers and formats count.
    family
        One of `FAMILIES`.
    seed
        Of the draws.
    count
        How many policies.

    Returns
    -------
    policies
        Each the column of every layer's format; sizes differ by 1 % at most.
    """
    generator = np.random.default_rng(seed)
    bits = np.array([entry.weight_bits for entry in table.formats])
    sizes = np.array([layer.elements for layer in table.layers])
    menu = np.flatnonzero([name in family.split(",") for name in table.format_names])
    goal = FAMILIES[family] * sizes.sum()
    found: list[NDArray[np.int64]] = []
    while len(found) < count:
        picks = generator.choice(menu, len(sizes))
        for _ in range(2000):
            excess = (bits[picks] * sizes).sum() - goal
            if abs(excess) <= 0.01 * goal:
                found.append(picks)
                break
            changed = picks.copy()
            changed[generator.integers(len(sizes))] = generator.choice(menu)
            if abs((bits[changed] * sizes).sum() - goal) < abs(excess):
                picks = changed
    return found


def policy_of(table: mq.SensitivityTable, picks: NDArray[np.int64]) -> mq.Policy:
    """The policy of these columns."""
    return mq.Policy(layer_names=table.layer_names, formats=tuple(table.formats[f] for f in picks))
