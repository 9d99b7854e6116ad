"""Solves for what each layer adds in each format, from the times of whole networks."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InvalidInput
from .designs import least

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_RATIOS = np.logspace(-5, 5, 61)  # of the variance between layers to that of noise


@dataclass(frozen=True, eq=False)
class Fit:
    """What every layer takes in every one of its formats.

    Attributes
    ----------
    cost
        For each layer ``(n_choices,)`` float64 seconds, at least 0. Their sum is the time of the network.
    stderr
        For each layer ``(n_choices,)`` float64 seconds: the standard error of the difference from the layer's fastest
        format, 0 there.
    residual
        The root of the mean square, in seconds, by which networks miss the sum: noise, and what does not add up.
    """

    cost: tuple[NDArray[np.float64], ...]
    stderr: tuple[NDArray[np.float64], ...]
    residual: float

    def of(self, picked: NDArray[np.int64]) -> float:
        """Seconds of the network in which the layers have these formats."""
        return float(sum(cost[at] for cost, at in zip(self.cost, picked, strict=True)))


def fit_layers(
    picked: NDArray[np.int64],
    formats: Sequence[Sequence[int]],
    seconds: NDArray[np.float64],
    weights: Sequence[float],
) -> Fit:
    """Explain the times of networks by sums over their layers.

    A format costs something in every layer, something for each multiply-accumulate, and in each layer as much more or
    less as the times say beyond their noise. How far layers differ is itself estimated, by restricted likelihood, and
    single layers are drawn towards the others by as much: Henderson (1975), *Best linear unbiased estimation and
    prediction under a selection model*. Without that the sum of the fastest formats would be the sum of the luckiest.

    Whole networks show how much slower a layer is in one format than in another, and how long the fastest network
    takes. How that one divides into layers they do not show, and no choice depends on it: it is divided by `weights`.

    Parameters
    ----------
    picked
        ``(n_networks, n_layers)`` int64: which of its formats each layer has.
    formats
        For each layer its formats, as numbers by which layers have the same ones.
    seconds
        ``(n_networks,)`` float64.
    weights
        For each layer its multiply-accumulates, or another measure of its work; all 0 where they are not known.

    Returns
    -------
    fit
        What the layers take.

    Raises
    ------
    InvalidInput
        When the networks are too few.
    """
    wanted = least([len(each) for each in formats])
    if len(picked) < wanted:
        raise InvalidInput(f"networks is {len(picked)}, which do not tell formats apart: run {wanted} at least")
    work = np.array(weights, dtype=np.float64)
    shares = work / work.sum() if work.sum() > 0 else np.full(len(work), 1 / len(work))
    cells = [(layer, at) for layer, each in enumerate(formats) for at in range(len(each))]
    common = _common(cells, formats, shares)
    single = np.array([picked[:, layer] == at for layer, at in cells], dtype=np.float64).T
    variances = np.array([(shares[layer] + 1 / len(shares)) / 2 for layer, _ in cells])
    fixed = np.column_stack([np.ones(len(picked)), single @ common])
    ratio, noise = _variances(fixed, single, variances, seconds)

    design = np.column_stack([fixed, single])
    normal = design.T @ design
    normal[np.diag_indices_from(normal)] += np.concatenate([np.zeros(fixed.shape[1]), 1 / (ratio * variances)])
    inverse = np.linalg.pinv(normal, hermitian=True)
    found = inverse @ (design.T @ seconds)
    # From what was solved for to what each cell adds.
    adding = np.column_stack([np.zeros(len(cells)), common, np.eye(len(cells))])
    covariance = adding @ inverse @ adding.T * noise
    return _divided(float(found[0]), adding @ found, covariance, formats, shares, noise**0.5)


def _common(
    cells: Sequence[tuple[int, int]], formats: Sequence[Sequence[int]], shares: NDArray[np.float64]
) -> NDArray[np.float64]:
    """What a cell has of what formats cost in every layer, and for each share of the work; the first costs nothing."""
    names = sorted({name for each in formats for name in each})[1:]
    columns = [[float(formats[layer][at] == name) for layer, at in cells] for name in names]
    by_work = [
        [value * shares[layer] for value, (layer, _) in zip(column, cells, strict=True)]
        for column in columns
        if not np.allclose(shares, shares[0])
    ]
    return np.array([*columns, *by_work]).T


def _variances(
    fixed: NDArray[np.float64],
    single: NDArray[np.float64],
    variances: NDArray[np.float64],
    seconds: NDArray[np.float64],
) -> tuple[float, float]:
    """How many times the noise layers vary, and the variance of the noise: the likeliest on a grid."""
    left, sizes, _ = np.linalg.svd(fixed, full_matrices=False)
    basis = left[:, sizes > sizes[0] * 1e-9]
    values, vectors = np.linalg.eigh(single * variances @ single.T)
    values = np.maximum(values, 0)
    known, times = vectors.T @ basis, vectors.T @ seconds
    free = len(seconds) - basis.shape[1]
    best = (np.inf, 0.0, 0.0)
    for ratio in _RATIOS:
        spread = 1 + ratio * values
        weighted = known / spread[:, None]
        normal = known.T @ weighted
        missed = times - known @ np.linalg.solve(normal, weighted.T @ times)
        noise = float((missed**2 / spread).sum()) / free
        if noise <= 0:  # exact sums, which nothing can be more likely than
            return float(_RATIOS[-1]), 0.0
        unlikely = free * np.log(noise) + np.log(spread).sum() + np.linalg.slogdet(normal)[1]
        best = min(best, (float(unlikely), float(ratio), noise))
    return best[1], best[2]


def _divided(
    whole: float,
    adding: NDArray[np.float64],
    covariance: NDArray[np.float64],
    formats: Sequence[Sequence[int]],
    shares: NDArray[np.float64],
    residual: float,
) -> Fit:
    """Costs that are at least 0: differences from the fastest formats, and shares of the network that has these."""
    begins = np.cumsum([0, *map(len, formats)])
    costs, errors = [], []
    for begin, end in itertools.pairwise(begins):
        own, block = adding[begin:end], covariance[begin:end, begin:end]
        fastest = int(own.argmin())
        whole += float(own[fastest])
        costs.append(own - own[fastest])
        errors.append(np.sqrt(np.maximum(np.diag(block) + block[fastest, fastest] - 2 * block[fastest], 0)))
    divided = [cost + max(whole, 0.0) * share for cost, share in zip(costs, shares, strict=True)]
    return Fit(tuple(divided), tuple(errors), residual)
