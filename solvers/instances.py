"""Seeded problems of any size: allocations shaped like networks, and the families of the knapsack literature.

Every generator is deterministic in its arguments (to the last digits of NumPy's exponentials), so a call names an
instance. Networks are here, under one to three budgets; the other families are in `families` and have their names here.
"""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from .errors import InvalidProblem
from .families import mmkp, several_budgets, strongly_correlated, subset_sum, uncorrelated, weakly_correlated, zigzag
from .problem.arguments import check_seed, check_share, check_whole, is_whole
from .problem.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = [
    "Layers",
    "llm",
    "lognormal",
    "mmkp",
    "quantisation",
    "resnet50",
    "several_budgets",
    "strongly_correlated",
    "subset_sum",
    "uncorrelated",
    "weakly_correlated",
    "zigzag",
]

RESOURCES = ("weight bits", "bit operations", "nanoseconds")

# What latency is made of: a large accelerator run at one sample, integer kernels for 4 and 8 bits.
_LAUNCH_NS = 3000
_BITS_PER_NS = 8 * 1000
_MACS_PER_NS = {4: 100_000.0, 8: 50_000.0}


@dataclasses.dataclass(frozen=True, eq=False)
class Layers:
    """The sizes of the weight tensors of a network.

    Attributes
    ----------
    elements
        ``(n_layers,)`` int64 weights of each tensor.
    macs
        ``(n_layers,)`` int64 multiply-accumulates of each tensor per sample (per token in a language model).
    """

    elements: NDArray[np.int64]
    macs: NDArray[np.int64]


def resnet50() -> Layers:
    """The 54 weight tensors of ResNet-50 and their work at 224 x 224 (He et al. 2016, *Deep residual learning*).

    Returns
    -------
    layers
        53 convolutions and the last linear layer: 25,502,912 weights, 4.09e9 multiply-accumulates.
    """
    sizes = [(64 * 3 * 49, 112)]
    channels = 64
    for width, blocks, side in ((64, 3, 56), (128, 4, 28), (256, 6, 14), (512, 3, 7)):
        for block in range(blocks):
            # The first block of each stage but the first halves the image in its 3 x 3 convolution.
            before = side * 2 if block == 0 and width > 64 else side
            sizes += [(channels * width, before), (9 * width * width, side), (4 * width * width, side)]
            if block == 0:
                sizes.append((channels * 4 * width, side))
            channels = 4 * width
    sizes.append((2048 * 1000, 1))
    elements, side = np.array(sizes, dtype=np.int64).T
    return Layers(elements, elements * side**2)


def llm(n_groups: int = 224) -> Layers:
    """The linear layers of a language model of 4,096 channels with grouped-query attention, seven to a block.

    Parameters
    ----------
    n_groups
        How many tensors; 224 are the 32 blocks of a model of 8e9 weights (Grattafiori et al. 2024, *The Llama 3 herd
        of models*).

    Returns
    -------
    layers
        Query, key, value, output, gate, up and down projections, over and over.
    """
    check_whole("n_groups", n_groups, 1)
    block = 4096 * np.array([4096, 1024, 1024, 4096, 14336, 14336, 14336], dtype=np.int64)
    elements = np.resize(block, n_groups)
    return Layers(elements, elements)


def lognormal(n_groups: int, *, seed: int = 0) -> Layers:
    """Tensors of lognormal size, median 200,000 weights, each weight used a lognormal number of times.

    Parameters
    ----------
    n_groups
        How many tensors.
    seed
        Of the sizes.

    Returns
    -------
    layers
        Sizes ``exp(N(ln 2e5, 1.5))`` and uses ``1 + exp(N(4, 1))``, rounded down.
    """
    check_whole("n_groups", n_groups, 1)
    check_seed(seed)
    rng = np.random.default_rng(seed)
    elements = np.maximum(1, np.exp(rng.normal(np.log(2e5), 1.5, n_groups))).astype(np.int64)
    uses = 1 + np.exp(rng.normal(4.0, 1.0, n_groups)).astype(np.int64)
    return Layers(elements, elements * uses)


def quantisation(
    layers: Layers, bits: Sequence[int], *, share: float = 0.5, seed: int = 0, n_budgets: int = 1
) -> Problem:
    """Choose the bits of every layer: losses fall fourfold with each bit, sensitivities span four decades.

    Parameters
    ----------
    layers
        The sizes.
    bits
        Widths in bits, rising, such as ``(2, 4, 8)``: the columns of the problem.
    share
        How tight the budgets are, from 0 (only the cheapest selection fits) to 1 (everything does).
    seed
        Of the losses.
    n_budgets
        1: bits of all weights, ``elements * b``. 2: also bit operations with activations as wide as the weights,
        ``macs * b**2``. 3: also nanoseconds: launch, weights over the bandwidth, work over the rate of the 4-bit or
        8-bit kernel.

    Returns
    -------
    problem
        Value ``s n 4**-b exp(0.3 N)`` with ``s = exp(2 N)`` for each layer and N standard normal. The budgets on bits
        and nanoseconds lie at `share` of the way from the cheapest to the dearest selection, the budget on bit
        operations is what the same uniform, fractional width would cost.

    Raises
    ------
    InvalidProblem
        When an argument makes no sense.
    """
    width = np.array(bits, dtype=np.int64)
    if width.ndim != 1 or not len(width) or (np.diff(width, prepend=0) <= 0).any() or width[-1] > 32:
        raise InvalidProblem(f"bits is {tuple(bits)}: give rising widths from 1 to 32")
    if not is_whole(n_budgets) or n_budgets not in (1, 2, 3):
        raise InvalidProblem(f"n_budgets is {n_budgets!r}: it must be 1, 2 or 3 ({', '.join(RESOURCES)})")
    check_share("share", share)
    check_seed(seed)
    rng = np.random.default_rng(seed)
    n = len(layers.elements)
    sensitivity = np.exp(2.0 * rng.normal(size=n)) * layers.elements
    value = rng.normal(size=(n, len(width)))
    # In place: with a million layers every temporary array counts.
    value *= 0.3
    np.exp(value, out=value)
    value *= 4.0**-width
    value *= sensitivity[:, None]
    cost = np.empty((n_budgets, n, len(width)), dtype=np.int64)
    np.multiply(layers.elements[:, None], width, out=cost[0])
    if n_budgets > 1:
        np.multiply(layers.macs[:, None], width**2, out=cost[1])
    if n_budgets > 2:
        cost[2] = _nanoseconds(layers, width)
    budget = [_between(each, share) for each in cost]
    if n_budgets > 1:
        even = width[0] + Fraction(share) * int(width[-1] - width[0])
        budget[1] = int(even**2 * int(layers.macs.sum()))
    return Problem.from_table(value, cost, budget)


def _nanoseconds(layers: Layers, width: NDArray[np.int64]) -> NDArray[np.int64]:
    rate = np.array([_MACS_PER_NS[4 if bits <= 4 else 8] for bits in width.tolist()])
    loading = layers.elements[:, None] * width / _BITS_PER_NS
    working = layers.macs[:, None] / rate
    return np.asarray(_LAUNCH_NS + np.ceil(np.maximum(loading, working)), dtype=np.int64)


def _between(cost: NDArray[np.int64], share: float) -> int:
    least, most = int(cost.min(axis=1).sum()), int(cost.max(axis=1).sum())
    return least + int(Fraction(share) * (most - least))
