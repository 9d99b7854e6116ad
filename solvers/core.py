"""Dynamic programming over the core of a one-budget problem: lists of nondominated states, pruned by the gap.

A state is a choice in the groups seen so far, kept as (cost, value) relative to the reference selection. Lists of
nondominated states are exact with real values (Nemhauser and Ullmann 1969, *Discrete dynamic programming and capital
allocation*); groups enter in the order of their smallest gradient and states are pruned by what the remaining groups
must add (Pisinger 1995, *A minimal algorithm for the multiple-choice knapsack problem*).
"""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .reduce import Core

_BLOCK = 2**22  # states times choices extended in one go


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
    """

    position: NDArray[np.int64] | None
    gap: float
    complete: bool
    states: int


@dataclasses.dataclass(frozen=True, eq=False)
class _Suffix:
    """What the groups from each place of the order on can still do; index ``n`` stands for no group at all."""

    up: NDArray[np.float64]  # least reduced cost per unit of slack used, at most the price of leaving it unused
    down: NDArray[np.float64]  # least reduced cost per unit of cost shed
    shed: NDArray[np.int64]  # most cost that can be shed


@dataclasses.dataclass(frozen=True, eq=False)
class _Step:
    """One group's choices, and where each state kept after it came from."""

    group: int
    choice: NDArray[np.int64]
    parent: NDArray[np.int32]
    taken: NDArray[np.int32]


@dataclasses.dataclass(frozen=True, eq=False)
class _States:
    """Partial selections, by rising cost and strictly falling value, relative to the reference."""

    cost: NDArray[np.int64]
    value: NDArray[np.float64]
    parent: NDArray[np.int32]
    taken: NDArray[np.int32]


def search_core(
    core: Core, price: float, gap: float, least_gain: float, max_states: int, deadline: float
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

    Returns
    -------
    result
        Incomplete where a limit was hit.
    """
    slack = core.slack[0]
    order = _order(core)
    suffix = _suffix(core, order, price, gap - least_gain)
    none = np.zeros(1, dtype=np.int32)
    states = _States(np.zeros(1, dtype=np.int64), np.zeros(1), none, none)
    steps: list[_Step] = []
    best: tuple[int, int] | None = None  # step and state of the best selection so far
    kept = 0
    complete = True
    for rank, group in enumerate(order):
        limit = gap - least_gain
        if limit < core.least_total:
            break  # the selection found meets the bound
        own = np.arange(core.start[group], core.start[group + 1])
        choice = own[core.reduced[own] <= limit]
        if len(choice) == 1:
            continue  # the gap has shrunk since: the group keeps its reference
        grown = _extend(core, choice, states, price, limit, suffix, rank + 1, max_states - kept, deadline)
        if grown is None:
            complete = False
            break
        states = _nondominated(grown)
        kept += len(states.cost)
        steps.append(_Step(int(group), choice, states.parent, states.taken))
        if not len(states.cost):
            break
        room = slack - states.cost
        total = np.maximum(states.value + price * states.cost, 0.0) + price * room
        total[room < 0] = np.inf
        at = int(np.argmin(total))
        if total[at] < limit:
            gap, best = float(total[at]), (len(steps) - 1, at)
            suffix = _suffix(core, order, price, gap - least_gain)
    position = None if best is None else _selection(core, steps, *best)
    return CoreResult(position, gap, complete, kept)


def _order(core: Core) -> NDArray[np.int64]:
    """Groups by rising smallest gradient: those most likely to leave their reference come first."""
    if not len(core.group):
        return np.zeros(0, dtype=np.int64)
    with np.errstate(divide="ignore", invalid="ignore"):
        gradient = core.reduced / np.abs(core.cost[0])
    gradient[core.start[:-1]] = np.inf
    return np.argsort(np.minimum.reduceat(gradient, core.start[:-1]), kind="stable")


def _suffix(core: Core, order: NDArray[np.int64], price: float, limit: float) -> _Suffix:
    n = len(order)
    up, down, shed = np.full(n + 1, price), np.zeros(n + 1), np.zeros(n + 1, dtype=np.int64)
    if not n:
        return _Suffix(up, down, shed)
    cost = core.cost[0]
    alive = core.reduced <= limit
    with np.errstate(divide="ignore", invalid="ignore"):
        gradient = core.reduced / np.abs(cost)
    begin = core.start[:-1]
    rise = np.minimum.reduceat(np.where(alive & (cost > 0), gradient, np.inf), begin)[order]
    fall = np.minimum.reduceat(np.where(alive & (cost < 0), gradient, np.inf), begin)[order]
    most = np.maximum.reduceat(np.where(alive, -cost, 0), begin)[order]
    up[:n] = np.minimum(np.minimum.accumulate(rise[::-1])[::-1], price)
    down[:n] = np.minimum.accumulate(fall[::-1])[::-1]
    shed[:n] = np.cumsum(most[::-1])[::-1]
    down[shed == 0] = 0.0
    return _Suffix(up, down, shed)


def _extend(
    core: Core,
    choice: NDArray[np.int64],
    states: _States,
    price: float,
    limit: float,
    suffix: _Suffix,
    rank: int,
    max_states: int,
    deadline: float,
) -> _States | None:
    """Every state with every choice that can still beat the limit; None where a limit was hit."""
    parts = []
    found = 0
    block = max(1, _BLOCK // len(states.cost))
    for at in range(0, len(choice), block):
        if time.perf_counter() > deadline:
            return None
        some = choice[at : at + block]
        cost = states.cost + core.cost[0, some, None]
        value = states.value + core.value[some, None]
        room = core.slack[0] - cost
        owed = np.maximum(value + price * cost, 0.0)
        owed += np.where(room >= 0, room * suffix.up[rank], -room * suffix.down[rank])
        taken, parent = np.nonzero((owed <= limit) & (-room <= suffix.shed[rank]))
        found += len(taken)
        if found > max_states:
            return None
        parts.append(
            _States(
                cost[taken, parent],
                value[taken, parent],
                parent.astype(np.int32),
                (taken + at).astype(np.int32),
            )
        )
    if len(parts) == 1:
        return parts[0]
    return _States(
        np.concatenate([part.cost for part in parts]),
        np.concatenate([part.value for part in parts]),
        np.concatenate([part.parent for part in parts]),
        np.concatenate([part.taken for part in parts]),
    )


def _nondominated(states: _States) -> _States:
    order = np.argsort(states.cost, kind="stable")
    value = states.value[order]
    keep = np.ones(len(order), dtype=bool)
    keep[1:] = value[1:] < np.minimum.accumulate(value)[:-1]
    order = order[keep]
    cost = states.cost[order]
    last = np.ones(len(order), dtype=bool)
    last[:-1] = cost[1:] != cost[:-1]  # of equal costs the last one kept has the least value
    order = order[last]
    return _States(states.cost[order], states.value[order], states.parent[order], states.taken[order])


def _selection(core: Core, steps: list[_Step], step: int, state: int) -> NDArray[np.int64]:
    """Walk back from a state to the choices that made it; groups after it keep their reference."""
    position = core.position[core.start[:-1]].copy()
    for back in range(step, -1, -1):
        here = steps[back]
        position[here.group] = core.position[here.choice[here.taken[state]]]
        state = int(here.parent[state])
    return position
