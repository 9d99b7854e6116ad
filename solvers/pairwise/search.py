"""Depth-first search for problems with pairwise terms, many partial selections at a time."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ..problem.problem import Problem
    from .bound import Grid

_ENTRIES = 2**21  # of the largest array of one step


@dataclasses.dataclass(frozen=True, eq=False)
class Excess:
    """What each choice and each pair of choices adds to a bound, never negative; groups in the order of the search.

    The value of a selection is ``bound`` plus the singles and pairs of its choices plus the price of unused budget.

    Attributes
    ----------
    bound
        The bound.
    single
        ``(n_groups, width)``, inf where nothing can be chosen.
    pair
        ``(n_groups, n_groups, width, width)``.
    cost
        ``(n_resources, n_groups, width)`` int64.
    at
        ``(n_groups, width)`` positions.
    order
        ``(n_groups,)`` the groups in the order of the search.
    """

    bound: float
    single: NDArray[np.float64]
    pair: NDArray[np.float64]
    cost: NDArray[np.int64]
    at: NDArray[np.int64]
    order: NDArray[np.int64]

    @classmethod
    def of(cls, problem: Problem, grid: Grid, price: NDArray[np.float64], gap: float) -> Excess:
        """Take the minima out of values with shares and of what is left of the terms; drop what exceeds the gap."""
        charged = grid.with_shares + np.where(grid.there, (price @ problem.cost)[grid.at], 0)
        least = charged.min(axis=1, keepdims=True)
        single = np.where(grid.there, charged - least, np.inf)
        single[single > gap] = np.inf
        rest = grid.rest()
        lowest = rest.min(axis=(2, 3), keepdims=True)
        pair = np.where(np.isfinite(rest), rest - lowest, 0)
        groups = np.arange(len(single))
        pair[groups, groups] = 0
        upper = np.triu_indices(len(groups), 1)
        bound = float(least.sum() + lowest[:, :, 0, 0][upper].sum() - price @ problem.budget)
        # First the groups that have most to say about the others.
        alive = np.isfinite(single)
        weight = np.where(alive[:, None, :, None] & alive[None, :, None, :], pair, 0).mean(axis=(2, 3)).sum(axis=1)
        weight = weight + np.where(alive, single, 0).mean(axis=1)
        order = np.lexsort((groups, -weight, alive.sum(axis=1) > 1))
        return cls(
            bound,
            single[order],
            np.ascontiguousarray(pair[order][:, order]),
            np.ascontiguousarray(problem.cost[:, grid.at[order]]),
            grid.at[order],
            order,
        )


@dataclasses.dataclass(frozen=True, eq=False)
class _Nodes:
    """Partial selections of the same depth: columns chosen, what is known to be added, and what each choice would add.

    `ahead` is ``(n, n_groups - depth, width)``: the single of each later choice and its pairs with what is chosen.
    """

    column: NDArray[np.int16]
    added: NDArray[np.float64]
    cost: NDArray[np.int64]
    ahead: NDArray[np.float64]
    floor: NDArray[np.float64]


@dataclasses.dataclass(eq=False)
class Outcome:
    """Whether the search was exhausted, and how many nodes it looked at."""

    complete: bool
    nodes: int


def exhaust(
    problem: Problem,
    excess: Excess,
    better: Callable[[NDArray[np.int64]], float],
    gap: float,
    *,
    deadline: float,
    max_nodes: int,
) -> Outcome:
    """Look at every selection that can be better than the best one known.

    Parameters
    ----------
    problem
        The normal problem.
    excess
        What choices add to the bound.
    better
        Takes the positions of a selection within the budgets and gives the new gap: the best value known, less what
        counts as equal to it, less the bound.
    gap
        That gap at the start.
    deadline
        Of `time.perf_counter`.
    max_nodes
        How many partial selections to look at.

    Returns
    -------
    outcome
        Complete where no feasible selection comes within the last gap.
    """
    groups, width = excess.single.shape
    least = np.where(np.isfinite(excess.single), excess.cost, np.iinfo(np.int64).max).min(axis=2)
    later = np.concatenate([np.cumsum(least[:, ::-1], axis=1)[:, ::-1], np.zeros((len(least), 1), np.int64)], axis=1)
    root = _Nodes(
        np.zeros((1, 0), np.int16), np.zeros(1), np.zeros((1, len(least)), np.int64), excess.single[None], np.zeros(1)
    )
    stack, seen = [root], 0
    while stack:
        if time.perf_counter() > deadline or seen > max_nodes:
            return Outcome(False, seen)
        nodes = stack.pop()
        alive = nodes.floor < gap
        depth = nodes.column.shape[1]
        if not alive.any():
            continue
        made = _expand(excess, nodes, alive, depth, problem.budget - later[:, depth + 1], gap)
        seen += len(made.added)
        if depth + 1 == groups:
            for at in np.argsort(made.added, kind="stable").tolist():
                if made.added[at] < gap:
                    columns = made.column[at].astype(np.int64)
                    choice = np.empty(groups, dtype=np.int64)
                    choice[excess.order] = excess.at[np.arange(groups), columns]
                    gap = better(choice)
            continue
        size = max(1, _ENTRIES // max(1, (groups - depth - 1) * width * width))
        order = np.argsort(made.floor, kind="stable")
        for first in range(size * ((len(order) - 1) // size), -1, -size):
            part = order[first : first + size]
            stack.append(
                _Nodes(made.column[part], made.added[part], made.cost[part], made.ahead[part], made.floor[part])
            )
    return Outcome(True, seen)


def _expand(
    excess: Excess, nodes: _Nodes, alive: NDArray[np.bool_], depth: int, room: NDArray[np.int64], gap: float
) -> _Nodes:
    """All ways to go on with the next group that stay within budgets and gap."""
    cost = nodes.cost[:, None, :] + excess.cost[:, depth].T[None]
    added = nodes.added[:, None] + nodes.ahead[:, 0]
    going = alive[:, None] & (added < gap) & (cost <= room).all(axis=2)
    parent, column = np.nonzero(going)
    ahead = nodes.ahead[parent, 1:] + excess.pair[depth, depth + 1 :][:, column].transpose(1, 0, 2)
    added = added[parent, column]
    floor = added + ahead.min(axis=2).sum(axis=1)
    kept = floor < gap
    columns = np.concatenate([nodes.column[parent[kept]], column[kept, None].astype(np.int16)], axis=1)
    return _Nodes(columns, added[kept], cost[parent[kept], column[kept]], ahead[kept], floor[kept])
