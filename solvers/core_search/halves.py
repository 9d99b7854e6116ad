"""Meet in the middle: lists the partial selections of each half of a core's groups, then looks for their best pair.

Under many budgets bounds prune few partial selections, and lists that grow group by group become too long. Two lists of
a million partial selections, one for each half of the groups, stand for a million million selections. Little of any
budget with a price may be left unused, so each partial selection has few partners, which are looked up by cost
(Horowitz and Sahni 1974, *Computing partitions with applications to the knapsack problem*). The lists hold the partial
selections whose reduced costs add up to the least, so with both the best selections of the whole core are found early;
lists that hold all that could be part of anything better make the search complete.
"""

from __future__ import annotations

import dataclasses
import math
import time
from typing import TYPE_CHECKING

import numpy as np

from .dynamic import CoreResult
from .pairing import Half, best_pair

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..core.reduction import Core
    from .dynamic import Heard

_FIRST, _GROWTH = 10_000, 4  # partial selections of each half in the first round, and how many times more in the next
_COPIES = 2  # of a half: one in the order in which it was made, one in the order of cells
_LARGEST_TRIAL = 1e300  # where no total is known, trials up to here
_BINS = 2048  # of the histogram by which partial selections are counted
_BELOW = 1e-9  # of the edge of a bin, so that what lies on it is left out


class _OutOfLimits(Exception):
    """Time or states ran out."""


@dataclasses.dataclass(frozen=True, eq=False)
class _Step:
    """One group: how many states there were before it, all of which stay, and those that leave the reference in it.

    Attributes
    ----------
    group
        The group, in the core.
    before
        How many states there were.
    choice, end
        The choices it may take but the reference, and where among the new states those made by each of them end.
    parent
        The state that each new one was made from.
    """

    group: int
    before: int
    choice: NDArray[np.int64]
    end: NDArray[np.int64]
    parent: NDArray[np.int32]


def search_halves(
    core: Core,
    price: NDArray[np.float64],
    gap: float,
    least_gain: float,
    max_states: int,
    deadline: float,
    *,
    deal: int = 0,
    heard: Heard | None = None,
) -> CoreResult:
    """Look for the best selection of a core that beats a gap, in lists that grow until they hold everything.

    Parameters
    ----------
    core
        The core of a problem with several resources.
    price
        ``(n_resources,)`` float64, value per unit of cost.
    gap
        Value of the incumbent less the Lagrangian bound; ``inf`` without one.
    least_gain
        Improvements smaller than this do not count, or do not exist.
    max_states
        How many partial selections may be kept at a time.
    deadline
        `time.perf_counter` reading at which to stop.
    deal
        How the groups are dealt to the halves in the first round; every round deals anew, and so finds others.
    heard
        Is told the ``(n_core,)`` positions of every better selection, and says whether that is enough.

    Returns
    -------
    result
        Complete where both lists held all partial selections that can be part of anything better.
    """
    search = _Search(core, price, gap, least_gain, (max_states, deadline), heard)
    complete = interrupted = False
    try:
        complete = search.run(deal)
    except _OutOfLimits:
        pass
    except KeyboardInterrupt:
        interrupted = True
    return CoreResult(search.position, search.gap, complete, search.kept, interrupted)


class _Search:
    """The search of one core; `position` and `gap` are sound whenever it stops."""

    def __init__(
        self,
        core: Core,
        price: NDArray[np.float64],
        gap: float,
        least_gain: float,
        limits: tuple[int, float],
        heard: Heard | None,
    ) -> None:
        self.position: NDArray[np.int64] | None = None
        self.gap = gap
        self.kept = 0
        self._core, self._price, self._least_gain = core, price, least_gain
        self._trial = float(np.median(core.reduced[core.reduced > 0])) if core.reduced.any() else 1.0
        self._largest, self._deadline = limits[0] // (2 * _COPIES), limits[1]
        self._heard = heard

    def run(self, deal: int) -> bool:
        """Round after round until nothing is left out: larger ones while there is room and time, then other deals."""
        if not len(self._core.group) or not (self._price > 0).any():
            return False
        size, kind = min(_FIRST, self._largest), _integer(self._core)
        if kind is None:
            return False
        while size and self._trial < _LARGEST_TRIAL:
            started = time.perf_counter()
            if self._round(size, deal, kind):
                return True
            deal += 1
            now = time.perf_counter()
            left = self._deadline - now
            if _GROWTH * (now - started) < left:
                size = min(_GROWTH * size, self._largest)
            elif now - started > left:
                break
        return False

    def _round(self, size: int, deal: int, kind: type[np.signedinteger]) -> bool:
        """Make lists of about so many, and look for their best pair; whether nothing was left out."""
        core, blind = self._core, math.isinf(self.gap)
        ceiling = self._trial if blind else self.gap - self._least_gain
        if not blind and (ceiling < core.least_total or not ceiling > 0):
            return True
        halves = _deal(core, deal)
        limits = [_regret_limit(core, groups, ceiling, size) for groups in halves]
        lists: list[tuple[Half, list[_Step]]] = []
        for groups, limit in zip(halves, limits, strict=True):
            lists.append(_partial_selections(core, groups, limit, kind, self._largest, self._deadline))
        self.kept = max(self.kept, _COPIES * sum(len(half.regret) for half, _ in lists))
        (left, left_steps), (right, right_steps) = lists
        pair = best_pair(left, right, self._price, core.slack, ceiling, self._least_gain, self._deadline)
        if pair.total <= ceiling:
            self.gap = pair.total
            self.position = core.position[core.start[:-1]].copy()
            _trace(core, left_steps, pair.left, self.position)
            _trace(core, right_steps, pair.right, self.position)
            if self._heard is not None and self._heard(self.position):
                raise _OutOfLimits
        elif blind:
            self._trial *= _GROWTH
            return False
        return pair.exhausted and min(limits) >= ceiling


def _deal(core: Core, deal: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The groups in two halves of like freedom, each with the groups whose smallest change is largest first."""
    others = core.reduced.copy()
    others[core.start[:-1]] = np.inf
    order = np.argsort(-np.minimum.reduceat(others, core.start[:-1]), kind="stable")
    to_left = np.arange(len(order)) % 2 == 0
    if deal:
        swapped = np.random.default_rng(deal).integers(0, 2, (len(order) + 1) // 2, dtype=np.int8)
        to_left ^= np.repeat(swapped, 2)[: len(order)].astype(bool)
    return order[to_left], order[~to_left]


def _regret_limit(core: Core, groups: NDArray[np.int64], ceiling: float, size: int) -> float:
    """A sum of reduced costs, up to a ceiling, that no more than so many partial selections stay under.

    They are counted in a histogram, for which reduced costs are rounded down.
    """
    width = ceiling / _BINS
    count = np.zeros(_BINS + 1)
    count[0] = 1.0
    for group in groups:
        before = count.copy()
        for each in core.reduced[core.start[group] + 1 : core.start[group + 1]].tolist():
            if each <= ceiling:
                bins = int(each / width)
                count[bins:] += before[: _BINS + 1 - bins]
    within = int(np.searchsorted(np.cumsum(count), size, side="right"))
    return ceiling if within > _BINS else within * width * (1 - _BELOW)


def _partial_selections(
    core: Core,
    groups: NDArray[np.int64],
    limit: float,
    kind: type[np.signedinteger],
    max_states: int,
    deadline: float,
) -> tuple[Half, list[_Step]]:
    """Every choice in some groups whose reduced costs add up to the limit at most."""
    regret = np.zeros(1)
    cost = np.zeros((len(core.slack), 1), dtype=kind)
    own_cost = core.cost.astype(cost.dtype)
    steps: list[_Step] = []
    for group in groups:
        own = np.arange(core.start[group] + 1, core.start[group + 1])
        own = own[core.reduced[own] <= limit]
        if not len(own):
            continue
        index = [np.flatnonzero(regret <= limit - core.reduced[each]).astype(np.int32) for each in own]
        end = np.cumsum([len(some) for some in index])
        if len(regret) + int(end[-1]) > max_states or time.perf_counter() > deadline:
            raise _OutOfLimits
        steps.append(_Step(int(group), len(regret), own, end, np.concatenate(index)))
        cost = np.concatenate(
            [cost, *(cost[:, some] + own_cost[:, each, None] for some, each in zip(index, own, strict=True))], axis=1
        )
        regret = np.concatenate(
            [regret, *(regret[some] + core.reduced[each] for some, each in zip(index, own, strict=True))]
        )
    return Half(regret, cost), steps


def _integer(core: Core) -> type[np.signedinteger] | None:
    """The smallest integer that holds the costs of every selection and what they leave of the budgets, or None."""
    reach = np.maximum.reduceat(np.abs(core.cost), core.start[:-1], axis=1).sum(axis=1, dtype=np.float64)
    most = 4 * max(float(reach.max()), float(max(abs(left) for left in core.slack)))
    return next((kind for kind in (np.int16, np.int32, np.int64) if most < np.iinfo(kind).max), None)


def _trace(core: Core, steps: list[_Step], state: int, position: NDArray[np.int64]) -> None:
    """Write the choices that made a state of the last step into a selection."""
    for step in reversed(steps):
        new = state - step.before
        if new >= 0:
            position[step.group] = core.position[step.choice[np.searchsorted(step.end, new, side="right")]]
            state = int(step.parent[new])
