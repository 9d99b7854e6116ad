"""Dominance: the choices that no other choice of their group beats or equals in value and in every cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .hull import undominated

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..problem.problem import Problem

_PAIRS_AT_ONCE = 2_000_000  # pairs of choices compared in one go


def undominated_choices(problem: Problem) -> NDArray[np.int64]:
    """Positions of the choices that are not dominated, group by group.

    Parameters
    ----------
    problem
        The problem.

    Returns
    -------
    position
        int64; of equal choices the first one stays. With one budget costs rise within each group.
    """
    if problem.n_resources == 1:
        return undominated(problem.value, problem.cost[0], problem.start)
    keep = np.ones(problem.n_choices, dtype=bool)
    for size in np.unique(problem.size):
        begin = problem.start[:-1][problem.size == size]
        block = max(1, _PAIRS_AT_ONCE // int(size) ** 2)
        for at in range(0, len(begin), block):
            index = begin[at : at + block, None] + np.arange(size)
            keep[index.ravel()] = ~_dominated(problem.value[index], problem.cost[:, index]).ravel()
    return np.flatnonzero(keep)


def _dominated(value: NDArray[np.float64], cost: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which choices of equal-sized groups are beaten or equalled throughout; of equal ones the first stays."""
    size = value.shape[1]
    no_worse = value[:, None, :] <= value[:, :, None]
    equal = value[:, None, :] == value[:, :, None]
    for row in cost:
        no_worse &= row[:, None, :] <= row[:, :, None]
        equal &= row[:, None, :] == row[:, :, None]
    earlier = np.arange(size)[None, :] < np.arange(size)[:, None]
    result: NDArray[np.bool_] = (no_worse & (~equal | earlier)).any(axis=2)
    return result
