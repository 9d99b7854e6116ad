"""Lists of partial selections under several budgets: adding a group, and dropping dominated states."""

from __future__ import annotations

import dataclasses
import math
import time
from typing import TYPE_CHECKING

import numpy as np

from ..bounds.lagrangian import charge

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..core.reduction import Core
    from .tails import Tails

_BLOCK = 2**20  # states times choices extended in one go
_BOUND_FROM = 64  # shorter lists are extended faster than bounded
_CELLS = {2: 128, 3: 32}  # per axis of the grid on which dominated states are looked for


@dataclasses.dataclass(frozen=True, eq=False)
class PartialSelections:
    """What has been chosen in the groups seen so far, relative to the reference: the states of a list.

    Attributes
    ----------
    cost
        ``(n_resources, n)`` int64.
    regret
        ``(n,)`` float64 sums of reduced costs.
    bound
        ``(n,)`` float64, no completion has a smaller total.
    parent, taken
        ``(n,)`` int32, the state of the list before and the choice that made each state.
    """

    cost: NDArray[np.int64]
    regret: NDArray[np.float64]
    bound: NDArray[np.float64]
    parent: NDArray[np.int32]
    taken: NDArray[np.int32]

    @classmethod
    def none(cls, n_resources: int) -> PartialSelections:
        """The one state before any group."""
        zero = np.zeros(1, dtype=np.int32)
        return cls(np.zeros((n_resources, 1), dtype=np.int64), np.zeros(1), np.zeros(1), zero, zero)

    def __len__(self) -> int:
        return len(self.regret)

    def at(self, index: NDArray[np.int64]) -> PartialSelections:
        """Some of the states."""
        return PartialSelections(
            self.cost[:, index], self.regret[index], self.bound[index], self.parent[index], self.taken[index]
        )


def extend(
    core: Core,
    choice: NDArray[np.int64],
    states: PartialSelections,
    price: NDArray[np.float64],
    slack: NDArray[np.int64],
    threshold: float,
    tails: Tails,
    rank: int,
    deadline: float,
) -> PartialSelections | None:
    """Every state with every choice that can still meet the budgets and the threshold.

    Parameters
    ----------
    core
        The core.
    choice
        int64 index of the choices of the group that is added.
    states
        The list so far.
    price
        ``(n_resources,)`` float64.
    slack
        ``(n_resources, 1)`` int64 budgets left by the reference.
    threshold
        Totals above this are of no interest.
    tails
        Bounds for the groups that follow.
    rank
        The place in the order of the first group that follows.
    deadline
        `time.perf_counter` reading at which to stop.

    Returns
    -------
    states
        The list with the group, or None where time ran out.
    """
    parts = []
    block = max(1, _BLOCK // len(states))
    shed, fill = tails.shed[:, rank, None], tails.fill[:, rank, None]
    for at in range(0, len(choice), block):
        if time.perf_counter() > deadline:
            return None
        some = choice[at : at + block]
        regret = (core.reduced[some, None] + states.regret).ravel()
        index = np.flatnonzero(regret <= threshold)
        taken, parent = np.divmod(index, len(states))
        cost = states.cost[:, parent] + core.cost[:, some[taken]]
        room = slack - cost
        regret = regret[index]
        bound = regret + charge(price, np.maximum(room - fill, 0))
        keep = np.flatnonzero((bound <= threshold) & (room + shed >= 0).all(axis=0))
        if len(keep) > _BOUND_FROM:
            cost, regret = cost[:, keep], regret[keep]
            bound = regret + tails.owed(rank, cost)
            inside = np.flatnonzero(bound <= threshold + tails.rounding)
            cost, regret, bound, keep = cost[:, inside], regret[inside], bound[inside], keep[inside]
        else:
            cost, regret, bound = cost[:, keep], regret[keep], bound[keep]
        parts.append(
            PartialSelections(cost, regret, bound, parent[keep].astype(np.int32), (taken[keep] + at).astype(np.int32))
        )
    if len(parts) == 1:
        return parts[0]
    return PartialSelections(
        np.concatenate([part.cost for part in parts], axis=1),
        *(np.concatenate([getattr(part, name) for part in parts]) for name in ("regret", "bound", "parent", "taken")),
    )


def thinned(
    states: PartialSelections, price: NDArray[np.float64], slack: NDArray[np.int64], tails: Tails, rank: int
) -> PartialSelections:
    """The states without those that another one beats in value while costing less of every resource that matters.

    With several resources, costs fall into the cells of a grid of quantiles. A state is dropped where a state of cells
    lower along every axis is worth no more: sure to be dominated, though not all dominated states are found.

    Parameters
    ----------
    states
        A list.
    price
        ``(n_resources,)`` float64.
    slack
        ``(n_resources, 1)`` int64 budgets left by the reference.
    tails
        Bounds for the groups that follow.
    rank
        The place in the order of the first group that follows.

    Returns
    -------
    states
        A part of the list from which the best completion of the whole list can be reached.
    """
    # Below this cost a resource cannot bind any more, so lower costs are no better.
    floor = slack - tails.fill[:, rank, None]
    cost = np.maximum(states.cost, floor)
    value = states.regret - charge(price, states.cost)
    if len(cost) == 1:
        order = np.lexsort((value, cost[0]))
        falling = value[order]
        keep = np.ones(len(order), dtype=bool)
        keep[1:] = falling[1:] < np.minimum.accumulate(falling)[:-1]
        return states.at(order[keep])
    cells = _CELLS.get(len(cost))
    if cells is None:
        return states
    return states.at(np.flatnonzero(~_lower_cell_is_better(cost, value, cells)))


def _lower_cell_is_better(cost: NDArray[np.int64], value: NDArray[np.float64], cells: int) -> NDArray[np.bool_]:
    """For each state whether a state of cells lower along every axis has a value no larger."""
    axes, shape = [], []
    for row in cost:
        ordered = np.sort(row)
        if ordered[0] == ordered[-1]:
            continue
        edges = np.unique(ordered[np.linspace(0, len(row) - 1, cells).astype(np.int64)])
        axes.append(np.searchsorted(edges, row, side="right"))
        shape.append(len(edges) + 1)
    if not axes:
        others: NDArray[np.bool_] = np.arange(len(value)) != int(np.argmin(value))
        return others
    flat = np.ravel_multi_index(tuple(axes), tuple(shape))
    least = np.full(math.prod(shape), np.inf)
    falling = np.argsort(-value, kind="stable")
    least[flat[falling]] = value[falling]  # of equal cells the last one written, the least, stays
    least = least.reshape(shape)
    for axis in range(len(shape)):
        np.minimum.accumulate(least, axis=axis, out=least)
    better: NDArray[np.bool_] = least[tuple(each - 1 for each in axes)] <= value
    return better
