"""Exact search of a core with several budgets: state lists, pruned at many prices, under a limit that deepens.

A state is a choice in the groups seen so far, kept as its costs and the sum of its reduced costs. Every completed
selection is worth ``bound + total`` with ``total = sum r + price . unused budget``, all terms at least 0; so the
optimum is found by listing all selections whose total stays under a trial limit, and raising the limit until there is
one (iterative deepening: Korf 1985, *Depth-first iterative-deepening*). Lists grow with the limit so fast that the
trials before the last cost little, and a good incumbent is not needed. States are dropped when they can no longer meet
a budget, when the Lagrangian bound of what follows exceeds the limit at any of a set of prices (Shih 1979, *A branch
and bound method for the multiconstraint zero-one knapsack problem*), or when another state is cheaper throughout.
"""

from __future__ import annotations

import dataclasses
import math
import time
from typing import TYPE_CHECKING

import numpy as np

from .core import CoreResult
from .tails import Completions, Tails, completions_of, tails_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .reduce import Core

_BLOCK = 2**20  # states times choices extended in one go
_BOUND_FROM = 64  # shorter lists are extended faster than bounded
_DOMINANCE_FROM = 3000
_CELLS = {1: 4096, 2: 128, 3: 32}  # per axis of the grid on which dominated states are looked for
_FIRST_GROUPS = 12  # the first trial limit lets about so many groups leave their reference
# After a trial of so many states the limit grows by so much: the lists grow many times as fast.
_GROWTH = ((100, 3.0), (500, 2.0), (5000, 1.5))
_LEAST_GROWTH = 1.25
_WIDTH = 20_000
_BEAM = 1000
_REFRESH = 0.8  # bounds are renewed when the total found falls to this share of what they were made for
_COMPLETE_FROM = 200  # longer lists look for incumbents by completing
_COMPLETED = 32  # so many states of least bound, at every price


@dataclasses.dataclass(frozen=True, eq=False)
class _Step:
    """One group's choices, and where each state kept after it came from."""

    group: int
    choice: NDArray[np.int64]
    parent: NDArray[np.int32]
    taken: NDArray[np.int32]


@dataclasses.dataclass(frozen=True, eq=False)
class _Walk:
    """What one trial found: the best total not above its limit, or None, and whether nothing was left out."""

    total: float
    position: NDArray[np.int64] | None
    exhausted: bool
    states: int


@dataclasses.dataclass(frozen=True, eq=False)
class _States:
    """Partial selections: ``(n_resources, n)`` costs and ``(n,)`` sums of reduced costs."""

    cost: NDArray[np.int64]
    regret: NDArray[np.float64]
    bound: NDArray[np.float64]
    parent: NDArray[np.int32]
    taken: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.regret)

    def at(self, index: NDArray[np.int64]) -> _States:
        """Some of the states."""
        return _States(
            self.cost[:, index], self.regret[index], self.bound[index], self.parent[index], self.taken[index]
        )


def search_lists(
    core: Core,
    price: NDArray[np.float64],
    gap: float,
    noise: float,
    *,
    max_states: int,
    deadline: float,
) -> CoreResult:
    """Find the best selection of a core that beats a gap, or show that there is none.

    Parameters
    ----------
    core
        The core of a problem with any number of resources.
    price
        ``(n_resources,)`` float64, value per unit of cost.
    gap
        Value of the incumbent less the Lagrangian bound; ``inf`` without one.
    noise
        Improvements no larger than this do not count.
    max_states
        How many states may be kept over all trials.
    deadline
        `time.perf_counter` reading at which to stop.

    Returns
    -------
    result
        Incomplete where a limit was hit; without a position, and complete, nothing is better than the incumbent.
    """
    ceiling, best, kept = gap - noise, None, 0
    highest = _highest_total(core, price)
    trial, width = _first_limit(core, price), _WIDTH
    beam_is_due = True
    while ceiling >= 0:
        if trial >= min(ceiling, highest):
            trial = ceiling
        walk = _walk(core, price, trial, width, max_states - kept, deadline)
        kept += walk.states
        if walk.position is not None:
            gap, best = walk.total, walk.position
            ceiling = gap
        if walk.exhausted and (walk.position is not None or trial >= ceiling):
            return CoreResult(best, gap, True, kept)
        if kept >= max_states or time.perf_counter() > deadline:
            return CoreResult(best, gap, False, kept)
        if walk.exhausted:
            trial *= next((growth for few, growth in _GROWTH if walk.states < few), _LEAST_GROWTH)
            continue
        if walk.position is None and beam_is_due:
            beam_is_due = False
            beam = _walk(core, price, ceiling, _BEAM, max_states - kept, deadline)
            kept += beam.states
            if beam.position is not None:
                gap = ceiling = beam.total
                best = beam.position
        width *= 4
        trial = min(trial, ceiling)
    return CoreResult(best, gap, True, kept)


def _highest_total(core: Core, price: NDArray[np.float64]) -> float:
    """No selection has a larger total."""
    begin = core.start[:-1]
    if not len(begin):
        return 0.0
    unused = np.maximum.reduceat(-core.cost, begin, axis=1).sum(axis=1) + np.array(core.slack)
    return float(np.maximum.reduceat(core.reduced, begin).sum() + price @ np.maximum(unused, 0)) * (1 + 1e-9)


def _first_limit(core: Core, price: NDArray[np.float64]) -> float:
    """A limit under which few groups can leave their reference."""
    smallest = np.sort(_smallest(core, core.reduced))
    smallest = smallest[smallest > 0]
    return float(smallest[min(_FIRST_GROUPS, len(smallest)) - 1]) if len(smallest) else math.inf


def _smallest(core: Core, amount: NDArray[np.float64]) -> NDArray[np.float64]:
    """``(n_core,)`` the least amount of any choice but the reference."""
    others = amount.copy()
    others[core.start[:-1]] = np.inf
    least: NDArray[np.float64] = np.minimum.reduceat(others, core.start[:-1])
    return least


def _order(core: Core, price: NDArray[np.float64], limit: float) -> NDArray[np.int64]:
    """Groups that can leave their reference, by rising smallest gradient: the likeliest first."""
    charge = price @ np.abs(core.cost)
    with np.errstate(divide="ignore", invalid="ignore"):
        gradient = np.where(core.reduced <= limit, core.reduced / charge, np.inf)
    gradient[np.isnan(gradient)] = 0.0
    least = _smallest(core, gradient)
    order = np.argsort(least, kind="stable")
    movable = _smallest(core, core.reduced) <= limit
    return order[movable[order]]


def _walk(
    core: Core, price: NDArray[np.float64], limit: float, width: int, max_states: int, deadline: float
) -> _Walk:
    """List the selections whose total is at most the limit, keeping the `width` states of least bound."""
    slack = np.array(core.slack, dtype=np.int64)[:, None]
    order = _order(core, price, limit)
    tails = tails_of(core, order, price, limit)
    completions: Completions | None = None
    none = np.zeros(1, dtype=np.int32)
    states = _States(np.zeros((len(price), 1), dtype=np.int64), np.zeros(1), np.zeros(1), none, none)
    steps: list[_Step] = []
    position: NDArray[np.int64] | None = None
    total, kept, exhausted = limit, 0, True
    if (slack >= 0).all() and float(price @ slack[:, 0]) <= limit:
        position, total = core.position[core.start[:-1]], float(price @ slack[:, 0])
    for rank, group in enumerate(order):
        if total < _REFRESH * tails.limit:
            tails, completions = tails_of(core, order, price, total), None
        threshold = total if position is None else total - tails.noise
        if threshold < 0:
            break
        own = np.arange(core.start[group], core.start[group + 1])
        choice = own[core.reduced[own] <= threshold]
        if len(choice) == 1:
            continue
        if kept + len(states) > max_states or time.perf_counter() > deadline:
            exhausted = False
            break
        states = _extend(core, choice, states, price, slack, threshold, tails, rank + 1)
        if len(states) > _DOMINANCE_FROM:
            states = _thinned(states, price, slack, tails, rank + 1)
        if len(states) > width:
            states = states.at(np.sort(np.argpartition(states.bound, width)[:width]))
            exhausted = False
        kept += len(states)
        steps.append(_Step(int(group), choice, states.parent, states.taken))
        if not len(states):
            break
        found = _finished(states, price, slack)
        if found[0] <= threshold:
            total, position = found[0], _selection(core, steps, found[1])
        if len(states) > _COMPLETE_FROM:
            completions = completions or completions_of(core, order, tails)
            reached, state, at = _completed(states, completions, price, slack, rank + 1)
            if reached <= threshold and reached < total:
                total, position = reached, _selection(core, steps, state)
                position[order[rank + 1 :]] = core.position[completions.choice[at, rank + 1 :]]
    return _Walk(total, position, exhausted, kept)


def _finished(states: _States, price: NDArray[np.float64], slack: NDArray[np.int64]) -> tuple[float, int]:
    """The least total of a state whose other groups keep their reference, and which state it is."""
    fitting = np.flatnonzero((states.cost <= slack).all(axis=0))
    if not len(fitting):
        return math.inf, 0
    totals = states.regret[fitting] + price @ (slack - states.cost[:, fitting])
    at = int(np.argmin(totals))
    return float(totals[at]), int(fitting[at])


def _completed(
    states: _States, completions: Completions, price: NDArray[np.float64], slack: NDArray[np.int64], rank: int
) -> tuple[float, int, int]:
    """The least total of the most promising states, completed at any price; the state, and the price's number."""
    best = np.argpartition(states.bound, _COMPLETED)[:_COMPLETED]
    room = slack[:, None] - states.cost[:, None, best] - completions.cost[:, :, rank, None]
    regret = states.regret[best] + completions.regret[:, rank, None]
    totals = np.where((room >= 0).all(axis=0), regret + np.tensordot(price, room, axes=1), np.inf)
    at, state = divmod(int(np.argmin(totals)), len(best))
    return float(totals[at, state]), int(best[state]), at


def _extend(
    core: Core,
    choice: NDArray[np.int64],
    states: _States,
    price: NDArray[np.float64],
    slack: NDArray[np.int64],
    threshold: float,
    tails: Tails,
    rank: int,
) -> _States:
    """Every state with every choice that can still meet the budgets and the threshold."""
    parts = []
    block = max(1, _BLOCK // len(states))
    shed, fill = tails.shed[:, rank, None], tails.fill[:, rank, None]
    for at in range(0, len(choice), block):
        some = choice[at : at + block]
        regret = (core.reduced[some, None] + states.regret).ravel()
        index = np.flatnonzero(regret <= threshold)
        taken, parent = np.divmod(index, len(states))
        cost = states.cost[:, parent] + core.cost[:, some[taken]]
        room = slack - cost
        regret = regret[index]
        bound = regret + price @ np.maximum(room - fill, 0)
        keep = np.flatnonzero((bound <= threshold) & (room + shed >= 0).all(axis=0))
        if len(keep) > _BOUND_FROM:
            cost, regret = cost[:, keep], regret[keep]
            bound = regret + tails.owed(rank, cost)
            inside = np.flatnonzero(bound <= threshold + tails.noise)
            cost, regret, bound, keep = cost[:, inside], regret[inside], bound[inside], keep[inside]
        else:
            cost, regret, bound = cost[:, keep], regret[keep], bound[keep]
        parts.append(
            _States(cost, regret, bound, parent[keep].astype(np.int32), (taken[keep] + at).astype(np.int32))
        )
    if len(parts) == 1:
        return parts[0]
    return _States(
        np.concatenate([part.cost for part in parts], axis=1),
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("regret", "bound", "parent", "taken")
        ),
    )


def _thinned(
    states: _States, price: NDArray[np.float64], slack: NDArray[np.int64], tails: Tails, rank: int
) -> _States:
    """The states without those that another one beats in value while costing less of every resource that matters.

    Costs fall into the cells of a grid of quantiles. A state is dropped where a state of cells lower along every axis
    is worth no more: sure to be dominated, though not all dominated states are found.
    """
    # Below this cost a resource cannot bind any more, so lower costs are no better.
    floor = slack - tails.fill[:, rank, None]
    cost = np.maximum(states.cost, floor)
    value = states.regret - price @ states.cost
    cells = _CELLS.get(len(cost))
    if cells is None:
        return states
    axes = []
    shape = []
    for row in cost:
        ordered = np.sort(row)
        if ordered[0] == ordered[-1]:
            continue
        edges = np.unique(ordered[np.linspace(0, len(row) - 1, cells).astype(np.int64)])
        axes.append(np.searchsorted(edges, row, side="right"))
        shape.append(len(edges) + 1)
    if not axes:
        return states.at(np.array([int(np.argmin(value))]))
    flat = np.ravel_multi_index(tuple(axes), tuple(shape))
    least = np.full(math.prod(shape), np.inf)
    falling = np.argsort(-value, kind="stable")
    least[flat[falling]] = value[falling]  # of equal cells the last one written, the least, stays
    least = least.reshape(shape)
    for axis in range(len(shape)):
        np.minimum.accumulate(least, axis=axis, out=least)
    lower = least[tuple(each - 1 for each in axes)]
    return states.at(np.flatnonzero(~(lower <= value)))


def _selection(core: Core, steps: list[_Step], state: int) -> NDArray[np.int64]:
    """Walk back from a state of the last step to the choices that made it; other groups keep their reference."""
    position = core.position[core.start[:-1]].copy()
    for step in reversed(steps):
        position[step.group] = core.position[step.choice[step.taken[state]]]
        state = int(step.parent[state])
    return position
