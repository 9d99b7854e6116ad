"""The table of chains (selections whose level never falls from one group to the next), and their bound.

A chain is chosen group by group, so relaxing the budgets alone leaves a problem that a table over groups and levels
solves. Its optimum at the best prices bounds every chain from below, more sharply than the Lagrangian bound of the
problem without the chain.
"""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import require

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..problem.problem import Problem

_COLUMNS = 100  # chains that enter the mixture before the prices are good enough


@dataclasses.dataclass(frozen=True, eq=False)
class ChainTable:
    """A problem by group and level.

    Attributes
    ----------
    position
        ``(n_groups, n_levels)`` int64 position of the choice, -1 where a group has none of that level.
    value
        ``(n_groups, n_levels)`` float64 above the least of the group.
    cost
        ``(n_resources, n_groups, n_levels)`` int64 above the least of the group.
    room
        ``(n_resources,)`` int64 budgets less the sum of those least costs.
    """

    position: NDArray[np.int64]
    value: NDArray[np.float64]
    cost: NDArray[np.int64]
    room: NDArray[np.int64]

    @property
    def present(self) -> NDArray[np.bool_]:
        """``(n_groups, n_levels)`` where a group has a choice of that level."""
        return self.position >= 0

    def totals(self, level: NDArray[np.int64]) -> tuple[float, NDArray[np.int64]]:
        """Value and costs of a chain given by the level of every group."""
        group = np.arange(len(level))
        return float(self.value[group, level].sum()), self.cost[:, group, level].sum(axis=1)


def chain_table(problem: Problem, key: NDArray[np.int64]) -> ChainTable:
    """Arrange a problem by group and level.

    Parameters
    ----------
    problem
        The problem.
    key
        ``(n_choices,)`` int64 that may not fall along the groups, different within a group; its ranks are the levels.

    Returns
    -------
    table
        The table.
    """
    levels, level = np.unique(key, return_inverse=True)
    shape = (problem.n_groups, len(levels))
    begin = problem.start[:-1]
    position = np.full(shape, -1, dtype=np.int64)
    value = np.zeros(shape)
    cost = np.zeros((problem.n_resources, *shape), dtype=np.int64)
    position[problem.group, level] = np.arange(problem.n_choices)
    value[problem.group, level] = problem.value - np.minimum.reduceat(problem.value, begin)[problem.group]
    least = np.minimum.reduceat(problem.cost, begin, axis=1)
    cost[:, problem.group, level] = problem.cost - least[:, problem.group]
    room = [int(limit) - total for limit, total in zip(problem.budget, problem.least_cost, strict=True)]
    return ChainTable(position, value, cost, np.array(room, dtype=np.int64))


@dataclasses.dataclass(frozen=True, eq=False)
class Tails:
    """The best continuation from every group and level, without budgets.

    Attributes
    ----------
    least
        ``(n_groups + 1, n_levels)`` least sum over the groups from this one on, at no lower a level than this.
    reached
        ``(n_groups + 1, n_levels)`` whether there is any continuation.
    level
        ``(n_groups, n_levels)`` int64 the level to take in this group.
    """

    least: NDArray[Any]
    reached: NDArray[np.bool_]
    level: NDArray[np.int64]

    def walk(self, group: int, level: int) -> list[int]:
        """The levels of the groups from one on."""
        taken = []
        for at in range(group, len(self.level)):
            level = int(self.level[at, level])
            taken.append(level)
        return taken

    def along(self, table: NDArray[Any]) -> NDArray[Any]:
        """The sums of another table along the same continuations, ``(n_groups + 1, n_levels)``."""
        total = np.zeros_like(table, shape=self.least.shape)
        for at in range(len(table) - 1, -1, -1):
            total[at] = (table[at] + total[at + 1])[self.level[at]]
        return total


def tails(charge: NDArray[Any], present: NDArray[np.bool_]) -> Tails:
    """Minimise a sum over chains, from the last group to the first.

    Parameters
    ----------
    charge
        ``(n_groups, n_levels)`` int64 or float64.
    present
        ``(n_groups, n_levels)`` which levels may be taken.

    Returns
    -------
    tails
        The best continuation from every group and level.
    """
    groups, levels = charge.shape
    never = np.iinfo(np.int64).max if charge.dtype.kind == "i" else np.inf
    least = np.zeros_like(charge, shape=(groups + 1, levels))
    reached = np.ones((groups + 1, levels), dtype=bool)
    level = np.zeros((groups, levels), dtype=np.int64)
    for at in range(groups - 1, -1, -1):
        open_ = present[at] & reached[at + 1]
        total = np.where(open_, charge[at] + np.where(open_, least[at + 1], 0), never)[::-1]
        running = np.minimum.accumulate(total)
        best = np.maximum.accumulate(np.where(total == running, np.arange(levels), 0))
        least[at], level[at] = running[::-1], levels - 1 - best[::-1]
        reached[at] = np.logical_or.accumulate(open_[::-1])[::-1]
    return Tails(least, reached, level)


def chain_price(table: ChainTable, deadline: float) -> tuple[NDArray[np.float64], list[NDArray[np.int64]]]:
    """Prices at which relaxing the budgets of a chain gives the best bound, and the chains met on the way.

    The relaxation is a mixture of chains that meets the budgets on average (Dantzig and Wolfe 1960, *Decomposition
    principle for linear programs*); the chain that enters is the cheapest at the prices of the mixture so far.

    Parameters
    ----------
    table
        A table with at least one chain.
    deadline
        `time.perf_counter` reading at which to stop.

    Returns
    -------
    price
        ``(n_resources,)`` float64, at least 0; any price gives a valid bound.
    chains
        Levels, ``(n_groups,)`` int64 each.
    """
    optimize = require("scipy.optimize", None)
    present = table.present
    scale = float(table.value.max()) or 1.0
    unit = np.maximum(table.cost.max(axis=(1, 2)), 1).astype(np.float64)
    price = best = np.zeros(len(unit))
    best_bound = -np.inf
    cheapest = [tails(row, present) for row in table.cost]
    chains = [np.array(way.walk(0, 0)) for way in cheapest]
    mean = np.inf
    while len(chains) < _COLUMNS and time.perf_counter() < deadline:
        way = tails(table.value + np.tensordot(price, table.cost, 1), present)
        bound = float(way.least[0, 0]) - float(price @ table.room)
        if bound > best_bound:
            best, best_bound = price, bound
        if mean <= bound + 1e-12 * abs(bound):
            break
        chains.append(np.array(way.walk(0, 0)))
        value, cost = zip(*(table.totals(chain) for chain in chains), strict=True)
        result = optimize.linprog(
            np.append(np.array(value) / scale, 1e3 * len(present)),  # the last variable is an overrun, at a high price
            A_ub=np.column_stack([np.array(cost).T / unit[:, None], -np.ones(len(unit))]),
            b_ub=table.room / unit,
            A_eq=[[1.0] * len(chains) + [0.0]],
            b_eq=[1.0],
            method="highs-ds",
        )
        if result.status != 0:
            break
        mean = float(result.fun) * scale
        price = np.maximum(-np.asarray(result.ineqlin.marginals), 0.0) * (scale / unit)
    return best, chains
