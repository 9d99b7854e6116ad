"""Regret over many tables, and the selection whose worst regret is least."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_ROUNDS = 60  # of weighting the draws; each costs one solve
_BLOCK = 2**24  # entries of a block of totals


@dataclass(frozen=True)
class Regret:
    """How far a policy's loss lies above the best one's, over many tables.

    Attributes
    ----------
    expected
        The mean.
    high
        What 95 % of the tables do not exceed.
    worst
        The largest.
    """

    expected: float
    high: float
    worst: float

    @classmethod
    def of(cls, regret: NDArray[np.float64]) -> Regret:
        """Summarise the regret of one policy in every table, ``(draws,)``."""
        return cls(float(regret.mean()), float(np.quantile(regret, 0.95)), float(regret.max()))


def totals(values: NDArray[np.float64], choices: NDArray[np.int64]) -> NDArray[np.float64]:
    """The loss of every selection in every table.

    Parameters
    ----------
    values
        ``(draws, n_choices)`` values of the problem's choices in each table.
    choices
        ``(n, n_groups)`` positions.

    Returns
    -------
    losses
        ``(draws, n)`` float64.
    """
    losses = np.empty((len(values), len(choices)))
    block = max(1, _BLOCK // max(1, len(values) * choices.shape[1]))
    for first in range(0, len(choices), block):
        losses[:, first : first + block] = values[:, choices[first : first + block]].sum(axis=2)
    return losses


def own_totals(values: NDArray[np.float64], choices: NDArray[np.int64]) -> NDArray[np.float64]:
    """``(draws,)`` the loss of each table's own selection, ``choices[draw]``."""
    return np.asarray(np.take_along_axis(values, choices, axis=1).sum(axis=1))


def least_worst(
    values: NDArray[np.float64],
    best: NDArray[np.float64],
    known: NDArray[np.int64],
    solve: Callable[[NDArray[np.float64]], NDArray[np.int64]],
) -> tuple[NDArray[np.int64], float]:
    """Look for the selection of least worst regret, and bound what any selection can reach.

    The worst regret is the largest mean regret over all ways to weight the draws. For fixed weights the selection of
    least mean regret is that of a problem with mean values, and its regret bounds every selection's worst one from
    below. Weights follow the regret of these selections (multiplicative weights: Freund and Schapire, 1999, *Adaptive
    game playing using multiplicative weights*); the best of all selections met is returned.

    Parameters
    ----------
    values
        ``(draws, n_choices)`` values in each table.
    best
        ``(draws,)`` the least loss in each table.
    known
        ``(n, n_groups)`` positions of selections to start from.
    solve
        From values to the positions of the best selection.

    Returns
    -------
    choice
        ``(n_groups,)`` positions.
    bound
        No selection has a smaller worst regret, up to rounding.
    """
    worst = np.array([_worst(values, best, each) for each in known])
    choice, least = known[int(np.argmin(worst))], float(worst.min())
    bound, scale = 0.0, float(worst.max())
    if scale == 0:
        return choice, bound
    pressure = np.zeros(len(values))
    rate = math.sqrt(8 * math.log(len(values)) / _ROUNDS)
    for _ in range(_ROUNDS):
        weights = np.exp(rate * (pressure - pressure.max()))
        weights /= weights.sum()
        found = solve(weights @ values)
        regret = values[:, found].sum(axis=1) - best
        bound = max(bound, float(weights @ regret))
        if float(regret.max()) < least:
            choice, least = found, float(regret.max())
        pressure += regret / scale
    return choice, min(bound, least)


def _worst(values: NDArray[np.float64], best: NDArray[np.float64], choice: NDArray[np.int64]) -> float:
    return float((values[:, choice].sum(axis=1) - best).max())
