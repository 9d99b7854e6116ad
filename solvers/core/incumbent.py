"""Finds feasible selections quickly: repairs what is over budget, then changes one group or two while that helps."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import numpy as np

from ..bounds.lagrangian import charge

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..bounds.hull import Hull
    from ..problem.problem import Problem

_ROUNDS = 50
PAIRS_UP_TO = 50_000  # with more choices than this, looking at pairs costs more than it brings


def repair(
    problem: Problem,
    selection: NDArray[np.int64],
    price: NDArray[np.float64],
    *,
    allowed: NDArray[np.int64],
    deadline: float = math.inf,
) -> NDArray[np.int64] | None:
    """Change groups one by one until every budget is met: each time the least reduced cost per overrun removed.

    Parameters
    ----------
    problem
        The problem.
    selection
        ``(n_groups,)`` int64 positions.
    price
        ``(n_resources,)`` float64.
    allowed
        int64 positions that may be chosen.
    deadline
        `time.perf_counter` reading at which to stop.

    Returns
    -------
    selection
        ``(n_groups,)`` int64 positions within every budget, or None where repair finds none in time.
    """
    chosen = selection.copy()
    group = problem.group[allowed]
    cost = problem.cost[:, allowed]
    unit = np.maximum(problem.cost.max(axis=1), 1).astype(np.float64)[:, None]
    penalised = problem.value[allowed] + charge(price, cost)
    for _ in range(4 * problem.n_groups + _ROUNDS):
        over = (problem.cost[:, chosen].sum(axis=1) - problem.budget)[:, None]
        if (over <= 0).all():
            return chosen
        change = cost - problem.cost[:, chosen[group]]
        before = np.maximum(over, 0) / unit
        after = np.maximum(over + change, 0) / unit
        removed = before.cumsum(axis=0)[-1] - after.cumsum(axis=0)[-1]  # added in turn, as the kernel adds
        useful = np.flatnonzero(removed > 0)
        if not len(useful) or time.perf_counter() > deadline:
            return None
        current = problem.value[chosen] + charge(price, problem.cost[:, chosen])
        rise = penalised[useful] - current[group[useful]]
        rate = np.where(rise > 0, rise / removed[useful], rise)
        best = int(useful[np.argmin(rate)])
        chosen[group[best]] = allowed[best]
    return None


def fill(problem: Problem, hull: Hull, rate: float) -> NDArray[np.int64]:
    """Take all hull steps that save more than a rate, and of those at that very rate as many as fit, one by one.

    Parameters
    ----------
    problem
        A problem with one budget that can be met.
    hull
        Its hulls.
    rate
        The multiplier: all steps of a higher rate fit together.

    Returns
    -------
    selection
        ``(n_groups,)`` int64 positions within the budget.
    """
    at = hull.split(rate)
    room = int(problem.budget[0]) - int(problem.cost[0, hull.point[at]].sum())
    tied = (hull.rate == rate).nonzero()[0]
    weight = hull.weight[tied]
    prefix = int(weight.cumsum().searchsorted(room, side="right"))
    room -= int(weight[:prefix].sum())
    taken = [*range(prefix)]
    for index, each in enumerate(weight[prefix:].tolist(), start=prefix):
        if each <= room:
            taken.append(index)
            room -= each
    at[hull.group[tied[taken]]] += 1  # rates fall strictly along a hull, so no group has two steps of one rate
    filled: NDArray[np.int64] = hull.point[at]
    return filled


def improve(
    problem: Problem, selection: NDArray[np.int64], *, allowed: NDArray[np.int64], deadline: float = math.inf
) -> NDArray[np.int64]:
    """Make the best change of one group (with one budget also of two together) while one lowers the value.

    Parameters
    ----------
    problem
        The problem.
    selection
        ``(n_groups,)`` int64 positions within every budget.
    allowed
        int64 positions that may be chosen.
    deadline
        `time.perf_counter` reading at which to stop.

    Returns
    -------
    selection
        ``(n_groups,)`` int64 positions within every budget, no worse than the given ones.
    """
    chosen = selection.copy()
    group = problem.group[allowed]
    in_pairs = problem.n_resources == 1 and len(allowed) <= PAIRS_UP_TO
    for _ in range(_ROUNDS):
        if time.perf_counter() > deadline:
            break
        slack = (problem.budget - problem.cost[:, chosen].sum(axis=1))[:, None]
        value = problem.value[allowed] - problem.value[chosen[group]]
        change = problem.cost[:, allowed] - problem.cost[:, chosen[group]]
        if in_pairs:
            best = best_changes(value, change[0], group, int(slack[0, 0]))
        else:
            value[(change > slack).any(axis=0)] = np.inf
            best = np.array([int(value.argmin())])
        if not value[best].sum() < 0:
            break
        chosen[group[best]] = allowed[best]
    return chosen


def best_changes(
    value: NDArray[np.float64], cost: NDArray[np.int64], group: NDArray[np.int64], slack: int
) -> NDArray[np.int64]:
    """The change of one group, or of two together, that fits and adds the least value.

    Parameters
    ----------
    value, cost
        ``(n,)`` float64 and int64, what each change adds.
    group
        ``(n,)`` int64 its group. For each change only the best partner is tried, which may be of its own group.
    slack
        What a change may cost.

    Returns
    -------
    best
        int64 index of two changes, of one, or of none where none fits.
    """
    # A change of nothing in no group stands for the missing partner.
    value, cost, group = (np.concatenate([each, [last]]) for each, last in ((value, 0.0), (cost, 0), (group, -1)))
    order = cost.argsort(kind="stable")
    cost, own, group = cost[order], value[order], group[order]
    is_least = own <= np.minimum.accumulate(own)
    least_so_far = np.maximum.accumulate(np.where(is_least, np.arange(len(own)), 0))
    reach = cost.searchsorted(slack - cost, side="right") - 1
    partner = least_so_far[np.maximum(reach, 0)]
    total = own + own[partner]
    total[(reach < 0) | (group == group[partner])] = np.inf
    first = int(total.argmin())
    if total[first] == np.inf:
        return order[:0]
    both = order[[first, int(partner[first])]]
    return both[both < len(value) - 1]
