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
from typing import TYPE_CHECKING

import numpy as np

from ..bounds.gap import in_turn
from ..bounds.lagrangian import charge
from ..kernels.dispatch import compiled
from ..problem.arrays import least_of
from .dynamic import CoreResult, search_compiled
from .partial import PartialSelections, extend, thinned
from .tails import tails_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..core.reduction import Core
    from .dynamic import Heard

_DOMINANCE_FROM = 1000
_FIRST_GROUPS = 12  # the first trial limit lets about so many groups leave their reference
# After a trial of so many states the limit grows by so much: the lists grow many times as fast.
_GROWTH = ((100, 4.0), (500, 2.0), (5000, 1.5))
_LEAST_GROWTH = 1.25
_WIDTH, _MOST_WIDTH = 20_000, 320_000  # the most states of one list, at first and at last
_BEAM = 1000  # states of the lists that only look for a good selection
_REFRESH = 0.8  # bounds are renewed when the total found falls to this share of what they were made for


@dataclasses.dataclass(frozen=True, eq=False)
class _Step:
    """One group's choices, and where each state kept after it came from."""

    group: int
    choice: NDArray[np.int64]
    parent: NDArray[np.int32]
    taken: NDArray[np.int32]


@dataclasses.dataclass(frozen=True)
class _Walk:
    """How one trial ended.

    `found` says that it found a selection, `exhausted` that nothing was left out, `stopped` that states or time ran
    out.
    """

    found: bool
    exhausted: bool
    stopped: bool
    states: int


class _Enough(Exception):
    """What was found is good enough."""


class _Search:
    """The search of one core; `position` and `gap` are sound whenever it stops.

    Attributes
    ----------
    gap
        Value of the best selection known less the Lagrangian bound.
    position
        ``(n_core,)`` int64 its positions; None while it is the incumbent.
    kept
        How many states were kept over all trials.
    """

    def __init__(
        self,
        core: Core,
        price: NDArray[np.float64],
        gap: float,
        least_gain: float,
        limits: tuple[int, float],
        heard: Heard | None,
    ) -> None:
        self.gap = gap
        self.position: NDArray[np.int64] | None = None
        self.kept = 0
        self._core, self._price = core, price
        self._slack = np.array(core.slack, dtype=np.int64)[:, None]
        self._ceiling = gap - least_gain  # what is known, or better than that by as much as counts
        self._least_gain = least_gain if math.isfinite(gap) else 0.0
        self._max_states, self._deadline = limits
        self._heard = heard

    def run(self) -> bool:
        """Trial after trial under limits that rise; whether nothing is left that is better than the best found."""
        highest = _highest_total(self._core, self._price)
        trial, width = _first_limit(self._core), _WIDTH
        while self._ceiling >= self._core.least_total:
            if trial >= min(self._ceiling, highest):
                trial = self._ceiling
            walk = self._walk(trial, width)
            if walk.exhausted and (walk.found or trial >= self._ceiling):
                return True
            if walk.exhausted:
                trial *= next((growth for few, growth in _GROWTH if walk.states < few), _LEAST_GROWTH)
                continue
            if width == _WIDTH:
                self._climb(trial)
            if walk.stopped or self.kept >= self._max_states or width >= _MOST_WIDTH:
                return False
            width *= 4
            trial = min(trial, self._ceiling)
        return True

    def _climb(self, trial: float) -> None:
        """Look for a good selection in short lists: the limit rises until there is one, then falls to its total."""
        found = False
        while trial < self._ceiling or found:
            walk = self._walk(min(trial, self._ceiling), _BEAM)
            if walk.stopped or (found and not walk.found):
                break
            found = found or walk.found
            trial = self._ceiling if found else 2 * trial

    def _walk(self, limit: float, width: int) -> _Walk:
        """List the selections whose total is at most the limit, keeping the `width` states of least bound."""
        core, price, slack = self._core, self._price, self._slack
        order = _order(core, price, limit)
        tails = tails_of(core, order, price, limit)
        states = PartialSelections.none(len(price))
        steps: list[_Step] = []
        threshold, kept, found, cut, stopped = limit, 0, False, False, False
        unused = in_turn(price * slack[:, 0])
        if (slack >= 0).all() and unused <= limit:
            found = self._note(unused, steps, 0)
        for rank, group in enumerate(order):
            if found:
                threshold = self.gap - max(tails.noise, self._least_gain)
                if self.gap < _REFRESH * tails.limit:
                    tails = tails_of(core, order, price, self.gap)
            if threshold < core.least_total:
                break
            own = np.arange(core.start[group], core.start[group + 1])
            choice = own[core.reduced[own] <= threshold]
            if len(choice) == 1:
                continue
            grown = extend(core, choice, states, price, slack, threshold, tails, rank + 1, self._deadline)
            if grown is None:
                stopped = True
                break
            states = grown
            if len(states) > _DOMINANCE_FROM:
                states = thinned(states, price, slack, tails, rank + 1)
            if len(states) > width:
                states = states.at(least_of(states.bound, width))
                cut = True
            if self.kept + kept + len(states) > self._max_states:
                stopped = True
                break
            kept += len(states)
            steps.append(_Step(int(group), choice, states.parent, states.taken))
            if not len(states):
                break
            reached, state = _finished(states, price, slack)
            if reached <= threshold and reached < math.inf:
                found = self._note(reached, steps, state)
        self.kept += kept
        return _Walk(found, not (cut or stopped), stopped, kept)

    def _note(self, total: float, steps: list[_Step], state: int) -> bool:
        """Keep a selection that is better than what is known."""
        self.gap = self._ceiling = total
        self.position = _selection(self._core, steps, state)
        if self._heard is not None and self._heard(self.position):
            raise _Enough
        return True


def search_lists(
    core: Core,
    price: NDArray[np.float64],
    gap: float,
    least_gain: float,
    max_states: int,
    deadline: float,
    *,
    heard: Heard | None = None,
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
    heard
        Is told the ``(n_core,)`` positions of every better selection, and says whether that is enough.

    Returns
    -------
    result
        Incomplete where a limit was hit or the user interrupted, then with the best selection so far; without a
        position, and complete, nothing is better than the incumbent.
    """
    kernels = compiled()
    if kernels is not None and heard is None:
        return search_compiled(kernels.search_lists, core, price, gap, least_gain, (max_states, deadline))
    return search_in_numpy(core, price, gap, least_gain, max_states, deadline, heard=heard)


def search_in_numpy(
    core: Core,
    price: NDArray[np.float64],
    gap: float,
    least_gain: float,
    max_states: int,
    deadline: float,
    *,
    heard: Heard | None,
) -> CoreResult:
    """What `search_lists` does, in NumPy."""
    search = _Search(core, price, gap, least_gain, (max_states, deadline), heard)
    complete = interrupted = False
    try:
        complete = search.run()
    except _Enough:
        pass
    except KeyboardInterrupt:
        interrupted = True
    return CoreResult(search.position, search.gap, complete, search.kept, interrupted)


def _highest_total(core: Core, price: NDArray[np.float64]) -> float:
    """An upper bound on the total of every selection."""
    begin = core.start[:-1]
    if not len(begin):
        return 0.0
    unused = np.maximum.reduceat(-core.cost, begin, axis=1).sum(axis=1) + np.array(core.slack)
    return (in_turn(np.maximum.reduceat(core.reduced, begin)) + in_turn(price * np.maximum(unused, 0))) * (1 + 1e-9)


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
    spent = np.where(core.reduced <= limit, charge(price, np.abs(core.cost)), np.inf)
    movable = np.flatnonzero(_smallest(core, core.reduced) <= limit)
    return movable[np.argsort(-_smallest(core, spent)[movable], kind="stable")]


def _finished(states: PartialSelections, price: NDArray[np.float64], slack: NDArray[np.int64]) -> tuple[float, int]:
    """The least total of a state whose other groups keep their reference, and which state it is."""
    fitting = np.flatnonzero((states.cost <= slack).all(axis=0))
    if not len(fitting):
        return math.inf, 0
    totals = states.regret[fitting] + charge(price, slack - states.cost[:, fitting])
    at = int(np.argmin(totals))
    return float(totals[at]), int(fitting[at])


def _selection(core: Core, steps: list[_Step], state: int) -> NDArray[np.int64]:
    """Walk back from a state of the last step to the choices that made it; other groups keep their reference."""
    position = core.position[core.start[:-1]].copy()
    for step in reversed(steps):
        position[step.group] = core.position[step.choice[step.taken[state]]]
        state = int(step.parent[state])
    return position
