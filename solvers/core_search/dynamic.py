"""Dynamic programming over the core of a one-budget problem: lists of nondominated states, pruned by the gap.

A state is a choice in the groups seen so far, kept as (cost, value) relative to the reference selection. Lists of
nondominated states are exact with real values (Nemhauser and Ullmann 1969, *Discrete dynamic programming and capital
allocation*); groups enter in the order of their smallest gradient and states are pruned by what the remaining groups
must add (Pisinger 1995, *A minimal algorithm for the multiple-choice knapsack problem*). While states are few, several
groups enter at once, and all choices still to come are tested against the states: fewer and larger array operations.
"""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from ..kernels.dispatch import compiled, plain
from .combinations import Combinations, combine
from .remaining import Choices, Remaining

Heard: TypeAlias = "Callable[[NDArray[np.int64]], bool]"

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ..core.reduction import Core

_BLOCK = 2**22  # states times choices extended in one go
_AT_ONCE = 256  # groups enter together while states times their combinations are no more than this
_SCREEN = 2**16  # choices still to come are tested against the states while their product is no more than this


@dataclasses.dataclass(frozen=True, eq=False)
class CoreResult:
    """How the search of a core ended.

    Attributes
    ----------
    position
        ``(n_core,)`` int64 positions of a selection better than the incumbent, or None.
    gap
        Its value less the Lagrangian bound, or the incumbent's.
    complete
        Nothing is better by more than the noise.
    states
        How many states were kept over all steps.
    interrupted
        The user stopped it.
    """

    position: NDArray[np.int64] | None
    gap: float
    complete: bool
    states: int
    interrupted: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class _States:
    """Partial selections, by rising cost and strictly falling value, relative to the reference."""

    cost: NDArray[np.int64]
    value: NDArray[np.float64]
    parent: NDArray[np.int32]
    taken: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.cost)


@dataclasses.dataclass(frozen=True, eq=False)
class _Step:
    """The combinations that entered together, and where each state kept after them came from."""

    combinations: Combinations
    parent: NDArray[np.int32]
    taken: NDArray[np.int32]


class _Stopped(Exception):
    """A limit was hit."""


class _Search:
    """The search of one core; `best` and `gap` are sound whenever it stops.

    Attributes
    ----------
    gap
        Value of the best selection known less the Lagrangian bound.
    best
        Its changes against the reference, as indices into the core; None while it is the incumbent.
    kept
        How many states were kept over all steps.
    """

    def __init__(
        self,
        core: Core,
        price: float,
        gap: float,
        least_gain: float,
        limits: tuple[int, float],
        heard: Heard | None,
    ) -> None:
        self.gap = gap
        self.best: list[int] | None = None
        self.kept = 0
        self._core, self._price, self._least_gain = core, price, least_gain
        self._max_states, self._deadline = limits
        self._heard = heard
        self._pace = 0.0  # seconds for each state that the last step made
        self._steps: list[_Step] = []

    @property
    def _limit(self) -> float:
        """Only a total that is no more than this counts as better."""
        return self.gap - self._least_gain

    def run(self) -> None:
        """Search to the end; raises `_Stopped` where a limit is hit."""
        zero = np.zeros(1, dtype=np.int32)
        states = _States(np.zeros(1, dtype=np.int64), np.zeros(1), zero, zero)
        self._finish(states)
        ahead, first, renewed = self._renewed(Choices.of(self._core), states), 0, self.gap
        while len(states) and first < ahead.n_groups and self._limit >= self._core.least_total:
            combinations, first = combine(ahead, first, max(_AT_ONCE // len(states), 1), self._price, self._limit)
            began, made = time.perf_counter(), len(states) * len(combinations)
            if began + self._pace * made > self._deadline:
                raise _Stopped
            states = _nondominated(self._extend(states, combinations, ahead, first))
            self._pace = (time.perf_counter() - began) / made
            self.kept += len(states)
            self._steps.append(_Step(combinations, states.parent, states.taken))
            self._finish(states)
            left = len(ahead.choices) - int(ahead.begin[first])
            if self.gap != renewed or len(states) * left <= _SCREEN:
                ahead = self._renewed(ahead.choices.after(int(ahead.begin[first])), states)
                first, renewed = 0, self.gap

    def _finish(self, states: _States) -> None:
        """Note the best state whose other groups keep their reference, where it is better than what is known."""
        total, at = self._least_total(self._regret(states.cost, states.value), self._core.slack[0] - states.cost)
        if total < self._limit:
            self._note(total, self._changes(at))

    def _note(self, total: float, changes: list[int]) -> None:
        """Keep a selection that is better than what is known, and stop where that is enough."""
        self.gap, self.best = total, changes
        if self._heard is not None and self._heard(_positions(self._core, changes)):
            raise _Stopped

    def _renewed(self, choices: Choices, states: _States) -> Remaining:
        """The groups still to come, without the choices that no state can take in any better selection."""
        choices = choices.those(choices.reduced <= self._limit)
        if 0 < len(states) * len(choices) <= _SCREEN:
            cost = states.cost[:, None] + choices.cost
            regret = self._regret(cost, states.value[:, None] + choices.value)
            room = self._core.slack[0] - cost
            total, at = self._least_total(regret.ravel(), room.ravel())
            if total < self._limit:
                state, which = divmod(at, len(choices))
                self._note(total, [*self._changes(state), int(choices.index[which])])
            regret += choices.owed(room, self._price)
            choices = choices.those(np.any(regret <= self._limit, axis=0))
        return Remaining.of(choices, self._price)

    def _regret(self, cost: NDArray[np.int64], value: NDArray[np.float64]) -> NDArray[np.float64]:
        """The sum of the reduced costs of partial selections."""
        regret: NDArray[np.float64] = np.maximum(value + self._price * cost, 0.0)
        return regret

    def _least_total(self, regret: NDArray[np.float64], room: NDArray[np.int64]) -> tuple[float, int]:
        """The least total of a selection that fits, and where it is; ``inf`` if nothing fits."""
        if not len(regret):
            return np.inf, 0
        total = np.where(room < 0, np.inf, self._price * room + regret)
        at = int(total.argmin())
        return float(total[at]), at

    def _extend(self, states: _States, combinations: Combinations, ahead: Remaining, first: int) -> _States:
        """Every state with every combination that can still become something better, combinations first."""
        parts = []
        found = 0
        block = max(1, _BLOCK // len(states))
        for at in range(0, len(combinations), block):
            if time.perf_counter() > self._deadline:
                raise _Stopped
            cost = states.cost + combinations.cost[at : at + block, None]
            value = states.value + combinations.value[at : at + block, None]
            room = self._core.slack[0] - cost
            total = self._regret(cost, value)
            total += ahead.owed(first, room)
            kept = ((total <= self._limit) & (room >= -ahead.shed[first])).ravel().nonzero()[0]
            found += len(kept)
            if self.kept + found > self._max_states:
                raise _Stopped
            taken, parent = np.divmod(kept, len(states))
            parts.append((cost.ravel()[kept], value.ravel()[kept], parent.astype(np.int32), taken.astype(np.int32)))
            if at:
                parts[-1][3][:] += at
        if len(parts) == 1:
            return _States(*parts[0])
        cost, value, parent, taken = (np.concatenate(each) for each in zip(*parts, strict=True))
        return _States(cost, value, parent, taken)

    def _changes(self, state: int) -> list[int]:
        """Walk back from a state of the last step to the choices that made it."""
        found: list[int] = []
        for step in reversed(self._steps):
            found += step.combinations.chosen(int(step.taken[state]))
            state = int(step.parent[state])
        return found


def search_core(
    core: Core,
    price: float,
    gap: float,
    least_gain: float,
    max_states: int,
    deadline: float,
    *,
    heard: Heard | None = None,
) -> CoreResult:
    """Find the best selection of the core that beats a gap, or show that there is none.

    Parameters
    ----------
    core
        The core of a problem with one resource.
    price
        Value per unit of cost.
    gap
        Value of the incumbent less the Lagrangian bound.
    least_gain
        Improvements smaller than this do not count, or do not exist.
    max_states
        How many states may be kept over all steps.
    deadline
        `time.perf_counter` reading at which to stop.
    heard
        Is told the ``(n_core,)`` positions of every better selection, and says whether that is enough.

    Returns
    -------
    result
        Incomplete where a limit was hit, or the user interrupted: then with the best selection so far.
    """
    kernels = compiled()
    if kernels is not None and heard is None:
        return search_compiled(kernels.search_core, core, np.array([price]), gap, least_gain, (max_states, deadline))
    return search_in_numpy(core, price, gap, least_gain, max_states, deadline, heard=heard)


def search_in_numpy(
    core: Core,
    price: float,
    gap: float,
    least_gain: float,
    max_states: int,
    deadline: float,
    *,
    heard: Heard | None,
) -> CoreResult:
    """What `search_core` does, in NumPy."""
    search = _Search(core, price, gap, least_gain, (max_states, deadline), heard)
    complete = interrupted = False
    try:
        search.run()
        complete = True
    except _Stopped:
        pass
    except KeyboardInterrupt:
        interrupted = True
    position = None if search.best is None else _positions(core, search.best)
    return CoreResult(position, search.gap, complete, search.kept, interrupted)


def search_compiled(
    kernel: Callable[..., tuple[int, int]],
    core: Core,
    price: NDArray[np.float64],
    gap: float,
    least_gain: float,
    limits: tuple[int, float],
) -> CoreResult:
    """What a kernel finds that searches a core; `limits` are on states and on time."""
    changes, n_changes = np.empty(len(core.group), dtype=np.int64), np.full(1, -1, dtype=np.int64)
    found = np.array([gap])
    complete = kept = 0
    interrupted = False
    try:
        complete, kept = kernel(
            core.value,
            plain(core.cost),
            core.start,
            core.reduced,
            np.array(core.slack, dtype=np.int64),
            price,
            changes,
            n_changes,
            found,
            limits[0],
            least_gain,
            core.least_total,
            limits[1] - time.perf_counter(),
        )
    except KeyboardInterrupt:
        interrupted = True
    count = int(n_changes[0])
    position = None if count < 0 else _positions(core, changes[:count].tolist())
    return CoreResult(position, float(found[0]), bool(complete), kept, interrupted)


def _positions(core: Core, changes: list[int]) -> NDArray[np.int64]:
    """``(n_core,)`` positions of the reference with some changes, given as indices into the core."""
    position = core.position[core.start[:-1]]
    position[np.searchsorted(core.start, changes, side="right") - 1] = core.position[changes]
    return position


def _nondominated(states: _States) -> _States:
    if len(states) < 2:
        return states
    order = states.cost.argsort(kind="stable")
    value = states.value[order]
    keep = np.ones(len(order), dtype=bool)
    keep[1:] = value[1:] < np.minimum.accumulate(value)[:-1]
    order = order[keep]
    cost = states.cost[order]
    last = np.ones(len(order), dtype=bool)
    last[:-1] = cost[1:] != cost[:-1]  # of equal costs the last one kept has the least value
    order = order[last]
    return _States(states.cost[order], states.value[order], states.parent[order], states.taken[order])
