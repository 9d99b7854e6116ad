"""Plain answers to small problems, without the project's own arithmetic: brute force, and a table over every budget."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mckp_quant.solvers import Problem

MOST_SELECTIONS = 20_000
MOST_CELLS = 40_000


def optimum(problem: Problem) -> float | None:
    """The least value within the budgets, ``inf`` where nothing is; None where the problem is too large to say."""
    if math.prod(problem.size.tolist()) <= MOST_SELECTIONS:
        return by_enumeration(problem)
    if math.prod(max(0, limit) + 1 for limit in problem.budget.tolist()) <= MOST_CELLS:
        return by_table(problem)
    return None


def by_enumeration(problem: Problem) -> float:
    """Every selection; those whose rounded sums are near the least are summed exactly."""
    selections = np.stack(
        np.meshgrid(*(np.arange(a, b) for a, b in itertools.pairwise(problem.start)), indexing="ij"), axis=-1
    ).reshape(-1, problem.n_groups)
    # Costs add up to less than 2**63 by the rules of a problem, so these sums are exact.
    fits = np.ones(len(selections), dtype=bool)
    for row, limit in zip(problem.cost, problem.budget, strict=True):
        fits &= row[selections].sum(axis=1) <= limit
    if not fits.any():
        return math.inf
    chosen = problem.value[selections[fits]]
    total = chosen.sum(axis=1)
    rounding = 4 * problem.n_groups * np.finfo(float).eps * np.abs(chosen).sum(axis=1).max()
    near = chosen[total <= total.min() + rounding]
    return min(math.fsum(each) for each in near.tolist())


def by_table(problem: Problem) -> float:
    """The least value for every amount of every resource up to its budget, group by group, in doubles."""
    limit = problem.budget
    if (limit < 0).any():
        return math.inf
    least: NDArray[np.float64] = np.zeros(limit + 1)
    for first, last in itertools.pairwise(problem.start.tolist()):
        following = np.full(least.shape, np.inf)
        for at in range(first, last):
            own = problem.cost[:, at]
            if (own > limit).any():
                continue
            into = tuple(slice(int(each), None) for each in own)
            rest = tuple(slice(0, int(top - each) + 1) for top, each in zip(limit, own, strict=True))
            np.minimum(following[into], least[rest] + problem.value[at], out=following[into])
        least = following
    return float(least[tuple(limit.tolist())])
