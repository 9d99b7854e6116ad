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
from .partial import PartialSelections, extend, thinned
from .tails import tails_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .reduce import Core

_DOMINANCE_FROM = 1000
_FIRST_GROUPS = 12  # the first trial limit lets about so many groups leave their reference
# After a trial of so many states the limit grows by so much: the lists grow many times as fast.
_GROWTH = ((100, 4.0), (500, 2.0), (5000, 1.5))
_LEAST_GROWTH = 1.25
_WIDTH, _MOST_WIDTH = 20_000, 320_000  # states of one list: at first, and when nothing else helps
_BEAM = 1000  # states of the lists that only look for a good selection
_REFRESH = 0.8  # bounds are renewed when the total found falls to this share of what they were made for


@dataclasses.dataclass(frozen=True, eq=False)
class _Step:
    """One group's choices, and where each state kept after it came from."""

    group: int
    choice: NDArray[np.int64]
    parent: NDArray[np.int32]
    taken: NDArray[np.int32]


@dataclasses.dataclass(frozen=True, eq=False)
class _Walk:
    """What one trial found: the best total not above its limit and its selection, or None.

    `exhausted` says that nothing was left out, `stopped` that states or time ran out.
    """

    total: float
    position: NDArray[np.int64] | None
    exhausted: bool
    stopped: bool
    states: int


@dataclasses.dataclass(frozen=True, eq=False)
class _Search:
    """What all trials on a core have in common."""

    core: Core
    price: NDArray[np.float64]
    least_gain: float
    deadline: float

    def walk(self, limit: float, width: int, max_states: int) -> _Walk:
        """List the selections whose total is at most the limit, keeping the `width` states of least bound."""
        core, price = self.core, self.price
        slack = np.array(core.slack, dtype=np.int64)[:, None]
        order = _order(core, price, limit)
        tails = tails_of(core, order, price, limit)
        states = PartialSelections.none(len(price))
        steps: list[_Step] = []
        position: NDArray[np.int64] | None = None
        total, kept, cut, stopped = limit, 0, False, False
        if (slack >= 0).all() and float(price @ slack[:, 0]) <= limit:
            position, total = core.position[core.start[:-1]], float(price @ slack[:, 0])
        for rank, group in enumerate(order):
            if total < _REFRESH * tails.limit:
                tails = tails_of(core, order, price, total)
            threshold = total if position is None else total - max(tails.noise, self.least_gain)
            if threshold < core.least_total:
                break
            own = np.arange(core.start[group], core.start[group + 1])
            choice = own[core.reduced[own] <= threshold]
            if len(choice) == 1:
                continue
            if time.perf_counter() > self.deadline:
                stopped = True
                break
            states = extend(core, choice, states, price, slack, threshold, tails, rank + 1)
            if len(states) > _DOMINANCE_FROM:
                states = thinned(states, price, slack, tails, rank + 1)
            if len(states) > width:
                states = states.at(np.sort(np.argpartition(states.bound, width)[:width]))
                cut = True
            kept += len(states)
            if kept > max_states:
                kept, stopped = kept - len(states), True
                break
            steps.append(_Step(int(group), choice, states.parent, states.taken))
            if not len(states):
                break
            reached, state = _finished(states, price, slack)
            if reached <= threshold and reached < math.inf:
                total, position = reached, _selection(core, steps, state)
        return _Walk(total, position, not (cut or stopped), stopped, kept)


def search_lists(
    core: Core,
    price: NDArray[np.float64],
    gap: float,
    least_gain: float,
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
    least_gain
        Improvements smaller than this do not count, or do not exist.
    max_states
        How many states may be kept over all trials.
    deadline
        `time.perf_counter` reading at which to stop.

    Returns
    -------
    result
        Incomplete where a limit was hit; without a position, and complete, nothing is better than the incumbent.
    """
    search = _Search(core, price, least_gain if math.isfinite(gap) else 0.0, deadline)
    ceiling, best, kept = gap - least_gain, None, 0
    highest = _highest_total(core, price)
    trial, width = _first_limit(core), _WIDTH
    while ceiling >= core.least_total:
        if trial >= min(ceiling, highest):
            trial = ceiling
        walk = search.walk(trial, width, max_states - kept)
        kept += walk.states
        if walk.position is not None:
            gap = ceiling = walk.total
            best = walk.position
        if walk.exhausted and (walk.position is not None or trial >= ceiling):
            return CoreResult(best, gap, True, kept)
        if walk.exhausted:
            trial *= next((growth for few, growth in _GROWTH if walk.states < few), _LEAST_GROWTH)
            continue
        if width == _WIDTH:
            found = _climb(search, trial, ceiling, max_states - kept)
            kept += found.states
            if found.position is not None:
                gap = ceiling = found.total
                best = found.position
        if walk.stopped or kept >= max_states or width >= _MOST_WIDTH:
            return CoreResult(best, gap, False, kept)
        width *= 4
        trial = min(trial, ceiling)
    return CoreResult(best, gap, True, kept)


def _climb(search: _Search, trial: float, ceiling: float, max_states: int) -> _Walk:
    """A good selection: short lists, under limits that rise until there is one and then fall with what is found."""
    best = _Walk(ceiling, None, exhausted=False, stopped=False, states=0)
    kept = 0
    while trial < ceiling or best.position is not None:
        trial = min(trial, best.total)
        walk = search.walk(trial, _BEAM, max_states - kept)
        kept += walk.states
        if walk.position is not None and walk.total < best.total:
            best = walk
        elif best.position is not None or walk.stopped:
            break
        trial = best.total if best.position is not None else 2 * trial
    return dataclasses.replace(best, states=kept)


def _highest_total(core: Core, price: NDArray[np.float64]) -> float:
    """No selection has a larger total."""
    begin = core.start[:-1]
    if not len(begin):
        return 0.0
    unused = np.maximum.reduceat(-core.cost, begin, axis=1).sum(axis=1) + np.array(core.slack)
    return float(np.maximum.reduceat(core.reduced, begin).sum() + price @ np.maximum(unused, 0)) * (1 + 1e-9)


def _first_limit(core: Core) -> float:
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
    """Groups that can leave their reference, those whose smallest change is largest first.

    What the large ones leave open can only be filled by the small ones that follow, whose bounds are then sharp.
    """
    charge = np.where(core.reduced <= limit, price @ np.abs(core.cost), np.inf)
    movable = np.flatnonzero(_smallest(core, core.reduced) <= limit)
    return movable[np.argsort(-_smallest(core, charge)[movable], kind="stable")]


def _finished(states: PartialSelections, price: NDArray[np.float64], slack: NDArray[np.int64]) -> tuple[float, int]:
    """The least total of a state whose other groups keep their reference, and which state it is."""
    fitting = np.flatnonzero((states.cost <= slack).all(axis=0))
    if not len(fitting):
        return math.inf, 0
    totals = states.regret[fitting] + price @ (slack - states.cost[:, fitting])
    at = int(np.argmin(totals))
    return float(totals[at]), int(fitting[at])


def _selection(core: Core, steps: list[_Step], state: int) -> NDArray[np.int64]:
    """Walk back from a state of the last step to the choices that made it; other groups keep their reference."""
    position = core.position[core.start[:-1]].copy()
    for step in reversed(steps):
        position[step.group] = core.position[step.choice[step.taken[state]]]
        state = int(step.parent[state])
    return position
