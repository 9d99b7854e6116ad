"""The best chain within the budgets: dynamic programming over (group, level, cost), pruned by the bound of chains.

A dominated choice may be the only one that a chain allows, so no choice is dropped for being dominated; of two states
one beats the other only where its level is no higher as well.
"""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

import numpy as np

from ..bounds.lagrangian import EPS
from .table import chain_price, tails

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .table import ChainTable

_RIVALS = 256  # with several budgets a state is held against so many good ones


@dataclasses.dataclass(frozen=True, eq=False)
class ChainResult:
    """How the search ended.

    Attributes
    ----------
    position
        ``(n_groups,)`` int64 positions of the best chain found within the budgets, or None.
    complete
        No chain is better by more than rounding; without a position, there is none.
    bound
        No chain has a smaller value above the least of the groups, up to rounding; ``inf`` where there is none.
    states
        How many states were kept over all steps.
    interrupted
        The user stopped it.
    """

    position: NDArray[np.int64] | None
    complete: bool
    bound: float
    states: int
    interrupted: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class _States:
    """Chains up to a group: level of the last choice, value and costs so far, and the state each one grew from."""

    level: NDArray[np.int64]
    value: NDArray[np.float64]
    cost: NDArray[np.int64]
    parent: NDArray[np.int64]

    def keep(self, which: NDArray[np.bool_] | NDArray[np.int64]) -> _States:
        return _States(self.level[which], self.value[which], self.cost[:, which], self.parent[which])


def search_chain(
    table: ChainTable, start: NDArray[np.int64] | None, *, max_states: int, deadline: float
) -> ChainResult:
    """Find the best chain within the budgets.

    Parameters
    ----------
    table
        The problem by group and level.
    start
        ``(n_groups,)`` int64 levels of a chain to start from, or None.
    max_states
        How many states may be kept over all steps.
    deadline
        `time.perf_counter` reading at which to stop.

    Returns
    -------
    result
        Incomplete where a limit was hit or the user interrupted.
    """
    search = _Search(table, max_states, deadline)
    complete = interrupted = False
    try:
        if search.hopeless:
            return ChainResult(None, complete=True, bound=np.inf, states=0)
        if start is not None:
            search.offer(start)
        price, chains = chain_price(table, deadline)
        for chain in chains:
            search.offer(chain)
        complete = not search.prepare(price) or search.run()
    except KeyboardInterrupt:
        interrupted = True
    position = None if search.best is None else table.position[np.arange(len(search.best)), search.best]
    return ChainResult(position, complete, search.bound, search.kept, interrupted)


class _Search:
    """The search, step by step; the best chain so far survives whatever stops it."""

    def __init__(self, table: ChainTable, max_states: int, deadline: float) -> None:
        self.table, self.max_states, self.deadline = table, max_states, deadline
        self.cheapest = [tails(row, table.present) for row in table.cost]
        self.best: NDArray[np.int64] | None = None
        self.value = np.inf
        self.bound = -np.inf
        self.kept = 0

    @property
    def hopeless(self) -> bool:
        """Whether no chain exists, or even the cheapest exceeds one of the budgets."""
        if not self.cheapest[0].reached[0, 0]:
            return True
        return any(int(way.least[0, 0]) > room for way, room in zip(self.cheapest, self.table.room, strict=True))

    def offer(self, chain: NDArray[np.int64]) -> None:
        """Take a chain as the best one where it is."""
        value, cost = self.table.totals(chain)
        if value < self.value and (cost <= self.table.room).all():
            self.best, self.value = chain, value

    def prepare(self, price: NDArray[np.float64]) -> bool:
        """Drop the choices that no better chain passes through; False where that leaves no better chain."""
        table, self.price = self.table, price
        charge = table.value + np.tensordot(price, table.cost, 1)
        self.offset = float(price @ table.room)
        self.alive = table.present
        for again in (False, True):  # the second time without the rounding of what was dropped the first time
            self.noise = 8 * EPS * (float(np.where(self.alive, charge, 0.0).max(axis=1).sum()) + self.offset)
            self.onward = tails(charge, self.alive)
            if not again:
                self.bound = float(self.onward.least[0, 0]) - self.offset
            before = tails(charge[::-1, ::-1], self.alive[::-1, ::-1]).least[:0:-1, ::-1]
            through = before + charge + self.onward.least[1:] - self.offset
            self.alive = self.alive & (through <= self.value + self.noise)
            if not self.alive.any(axis=1).all():
                return False
        # Two ways to complete a state: at the prices, and with one budget the cheapest, which always fits.
        ways = [self.onward, *(self.cheapest if len(table.room) == 1 else [])]
        self.ways = [(way, way.along(table.value), [way.along(row) for row in table.cost]) for way in ways]
        return True

    def run(self) -> bool:
        """Extend the states group by group; whether the search was exhausted."""
        table = self.table
        none = np.zeros(1, dtype=np.int64)
        states = _States(none, np.zeros(1), np.zeros((len(table.room), 1), dtype=np.int64), none)
        trail: list[_States] = []
        pace = 0.0  # seconds for each state that the last group made
        for group in range(len(table.value)):
            parts: list[_States] = []
            levels = np.flatnonzero(self.alive[group] & self.onward.reached[group + 1]).tolist()
            began, made = time.perf_counter(), len(states.level) * len(levels)
            if began + pace * made > self.deadline:
                return False
            for level in levels:
                if time.perf_counter() > self.deadline:
                    return False
                n = int(np.searchsorted(states.level, level, side="right"))
                grown = _States(
                    np.full(n, level),
                    states.value[:n] + table.value[group, level],
                    states.cost[:, :n] + table.cost[:, group, level, None],
                    np.arange(n),
                )
                parts.append(grown.keep(self._promising(grown, group + 1)))
                if self.kept + sum(len(part.level) for part in parts) > self.max_states:
                    return False
            states = _together(parts, len(table.room))
            self._complete(states, group + 1, trail)
            states = self._nondominated(states.keep(self._promising(states, group + 1)), group + 1)
            if not len(states.level):
                return True
            self.kept += len(states.level)
            trail.append(states)
            pace = (time.perf_counter() - began) / made
        return True

    def _promising(self, states: _States, group: int) -> NDArray[np.bool_]:
        """Which states can still be completed within every budget to a better chain."""
        fits = np.ones(len(states.level), dtype=bool)
        for row, way, room in zip(states.cost, self.cheapest, self.table.room, strict=True):
            fits &= way.least[group, states.level] <= room - row
        fits &= self._score(states, group) <= self.value - self.noise
        return fits

    def _score(self, states: _States, group: int) -> NDArray[np.float64]:
        """The bound of every state: what the best chain through it costs at the prices."""
        score: NDArray[np.float64] = (
            states.value + self.price @ states.cost + self.onward.least[group, states.level] - self.offset
        )
        return score

    def _complete(self, states: _States, group: int, trail: list[_States]) -> None:
        """Complete every state without branching, and keep the best chain that comes of it."""
        for way, value, cost in self.ways:
            total = states.value + value[group, states.level]
            for row, more, room in zip(states.cost, cost, self.table.room, strict=True):
                total = np.where(more[group, states.level] <= room - row, total, np.inf)
            if not len(total) or total.min() >= self.value:
                continue
            at = int(np.argmin(total))
            ahead = way.walk(group, int(states.level[at]))
            taken = [int(states.level[at])]
            at = int(states.parent[at])
            for earlier in reversed(trail):
                taken.append(int(earlier.level[at]))
                at = int(earlier.parent[at])
            self.offer(np.array(taken[::-1] + ahead))

    def _nondominated(self, states: _States, group: int) -> _States:
        if len(self.table.room) == 1:
            return states.keep(_undominated(states))
        order = np.argsort(self._score(states, group), kind="stable")[:_RIVALS]
        rival = states.keep(order)
        worse = (rival.level[:, None] <= states.level) & (rival.value[:, None] <= states.value)
        same = (rival.level[:, None] == states.level) & (rival.value[:, None] == states.value)
        for theirs, own in zip(rival.cost, states.cost, strict=True):
            worse &= theirs[:, None] <= own
            same &= theirs[:, None] == own
        worse &= ~same | (order[:, None] < np.arange(len(states.level)))
        return states.keep(np.flatnonzero(~worse.any(axis=0)))


def _together(parts: list[_States], n_resources: int) -> _States:
    none = np.zeros(0, dtype=np.int64)
    parts = [_States(none, np.zeros(0), np.zeros((n_resources, 0), dtype=np.int64), none), *parts]
    return _States(
        np.concatenate([part.level for part in parts]),
        np.concatenate([part.value for part in parts]),
        np.concatenate([part.cost for part in parts], axis=1),
        np.concatenate([part.parent for part in parts]),
    )


def _undominated(states: _States) -> NDArray[np.int64]:
    """With one budget: the states, still by level, that none of their own or a lower level beats in cost and value."""
    kept: list[NDArray[np.int64]] = []
    front_cost, front_value = np.zeros(0, dtype=np.int64), np.zeros(0)
    for level in np.unique(states.level):
        own = np.flatnonzero(states.level == level)
        own = own[_falling(states.cost[0, own], states.value[own])]
        cost, value = states.cost[0, own], states.value[own]
        at = np.searchsorted(front_cost, cost, side="right") - 1
        beaten = (at >= 0) & (np.append(front_value, np.inf)[at] <= value)
        kept.append(own[~beaten])
        front_cost = np.concatenate([front_cost, cost[~beaten]])
        front_value = np.concatenate([front_value, value[~beaten]])
        order = _falling(front_cost, front_value)
        front_cost, front_value = front_cost[order], front_value[order]
    return np.concatenate(kept) if kept else np.zeros(0, dtype=np.int64)


def _falling(cost: NDArray[np.int64], value: NDArray[np.float64]) -> NDArray[np.int64]:
    """Indices by rising cost, as long as the value falls strictly."""
    order = np.lexsort((value, cost))
    keep = np.ones(len(order), dtype=bool)
    keep[1:] = value[order][1:] < np.minimum.accumulate(value[order])[:-1]
    return order[keep]
