"""Feasible selections found quickly: repair what is over budget, then change one group, then two, while it helps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .hull import Hull
    from .problem import Problem

_ROUNDS = 50
PAIRS_UP_TO = 50_000  # with more choices than this, looking at pairs costs more than it brings


def repair(
    problem: Problem, selection: NDArray[np.int64], price: NDArray[np.float64], *, allowed: NDArray[np.int64]
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

    Returns
    -------
    selection
        ``(n_groups,)`` int64 positions within every budget, or None where this road leads nowhere.
    """
    chosen = selection.copy()
    group = problem.group[allowed]
    cost = problem.cost[:, allowed]
    unit = np.maximum(problem.cost.max(axis=1), 1).astype(np.float64)[:, None]
    penalised = problem.value[allowed] + price @ cost
    for _ in range(4 * problem.n_groups + _ROUNDS):
        over = (problem.cost[:, chosen].sum(axis=1) - problem.budget)[:, None]
        if (over <= 0).all():
            return chosen
        change = cost - problem.cost[:, chosen[group]]
        before = np.maximum(over, 0) / unit
        after = np.maximum(over + change, 0) / unit
        removed = before.sum(axis=0) - after.sum(axis=0)
        useful = np.flatnonzero(removed > 0)
        if not len(useful):
            return None
        current = problem.value[chosen] + price @ problem.cost[:, chosen]
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
    at = hull.first + np.bincount(hull.group[hull.rate > rate], minlength=problem.n_groups)
    room = int(problem.budget[0]) - int(problem.cost[0, hull.point[at]].sum())
    tied = np.flatnonzero(hull.rate == rate)
    weight = hull.weight[tied]
    prefix = int(np.searchsorted(np.cumsum(weight), room, side="right"))
    room -= int(weight[:prefix].sum())
    taken = [*range(prefix)]
    for index, each in enumerate(weight[prefix:].tolist(), start=prefix):
        if each <= room:
            taken.append(index)
            room -= each
    at[hull.group[tied[taken]]] += 1  # rates fall strictly along a hull, so no group has two steps of one rate
    filled: NDArray[np.int64] = hull.point[at]
    return filled


def improve(problem: Problem, selection: NDArray[np.int64], *, allowed: NDArray[np.int64]) -> NDArray[np.int64]:
    """Make the best change of one group, or of two together, while one lowers the value within the budgets.

    Parameters
    ----------
    problem
        The problem.
    selection
        ``(n_groups,)`` int64 positions within every budget.
    allowed
        int64 positions that may be chosen.

    Returns
    -------
    selection
        ``(n_groups,)`` int64 positions within every budget, no worse than the given ones.
    """
    chosen = selection.copy()
    group = problem.group[allowed]
    for _ in range(_ROUNDS):
        slack = (problem.budget - problem.cost[:, chosen].sum(axis=1))[:, None]
        gain = problem.value[chosen[group]] - problem.value[allowed]
        change = problem.cost[:, allowed] - problem.cost[:, chosen[group]]
        fits = (change <= slack).all(axis=0) & (gain > 0)
        single = np.flatnonzero(fits)
        if len(single):
            best = int(single[np.argmax(gain[single])])
            chosen[group[best]] = allowed[best]
            continue
        pair = _best_pair(gain, change[0], group, int(slack[0, 0])) if problem.n_resources == 1 else None
        if pair is None:
            break
        for index in pair:
            chosen[group[index]] = allowed[index]
    return chosen


def _best_pair(
    gain: NDArray[np.float64], change: NDArray[np.int64], group: NDArray[np.int64], slack: int
) -> tuple[int, int] | None:
    """Two changes that together fit and gain; for each change only the best partner of its prefix is tried."""
    if len(gain) > PAIRS_UP_TO:
        return None
    order = np.argsort(change, kind="stable")
    cost, won = change[order], gain[order]
    running = np.maximum.accumulate(won)
    is_best = won >= running
    best_so_far = np.maximum.accumulate(np.where(is_best, np.arange(len(won)), 0))
    reach = np.searchsorted(cost, slack - cost, side="right") - 1
    partner = np.where(reach >= 0, best_so_far[np.maximum(reach, 0)], -1)
    total = np.where(partner >= 0, won + won[partner], -np.inf)
    total[group[order] == group[order[partner]]] = -np.inf
    first = int(np.argmax(total))
    if not total[first] > 0:
        return None
    return int(order[first]), int(order[partner[first]])
