"""Undominated choices, lower convex hulls and the multiplier: the linear relaxation of a one-budget problem.

The hull steps sorted by loss saved per cost are the linear relaxation (Sinha and Zoltners 1979, *The
multiple-choice knapsack problem*; Zemel 1980, *The linear multiple choice knapsack problem*). The step at which the
budget runs out gives the multiplier; it is found by selection, not by sorting, when there are many steps (Dyer 1984,
*An O(n) algorithm for the multiple-choice knapsack linear program*; Pisinger 1995, *A minimal algorithm for the
multiple-choice knapsack problem*).
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from ..problem.arrays import run_bounds

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SORT_AT_ONCE = 20_000  # with fewer steps than this, sorting them is faster than bracketing
_SAMPLE = 1001


def undominated(value: NDArray[np.float64], cost: NDArray[Any], start: NDArray[np.int64]) -> NDArray[np.int64]:
    """Positions of the choices that no other choice of their group beats or equals in both cost and value.

    Parameters
    ----------
    value
        ``(n_choices,)`` float64.
    cost
        ``(n_choices,)`` int64 or float64.
    start
        ``(n_groups + 1,)`` int64, where each group begins.

    Returns
    -------
    position
        int64, group by group; within a group the cost strictly rises and the value strictly falls. Of equal choices
        the first one stays.
    """
    order = _by_cost(value, cost, start)
    sorted_value = value[order]
    falls = np.ones(len(order), dtype=bool)
    np.less(sorted_value[1:], sorted_value[:-1], out=falls[1:])
    falls[start[:-1]] = True
    if falls.all():
        return order
    size = np.diff(start)
    rank = np.arange(len(order)) - np.repeat(start[:-1], size)
    best = sorted_value.copy()
    step, longest = 1, int(size.max())
    while step < longest:  # running minimum inside each group, by doubling
        inside = rank[step:] >= step
        best[step:] = np.where(inside, np.minimum(best[step:], best[:-step]), best[step:])
        step *= 2
    keep = np.ones(len(order), dtype=bool)
    keep[1:] = (rank[1:] == 0) | (sorted_value[1:] < best[:-1])
    kept: NDArray[np.int64] = order[keep]
    return kept


def _by_cost(value: NDArray[np.float64], cost: NDArray[Any], start: NDArray[np.int64]) -> NDArray[np.int64]:
    """Positions sorted by group, then cost, then value; ties keep their order."""
    size = np.diff(start)
    n = len(value)
    first = np.zeros(n + 1, dtype=bool)
    first[start] = True
    if n < 2 or bool((first[1:n] | (cost[1:] > cost[:-1])).all()):
        return np.arange(n)
    if (size == size[0]).all():
        shape = (len(size), int(size[0]))
        inner = np.lexsort((value.reshape(shape), cost.reshape(shape)), axis=-1)
        return np.asarray((inner + start[:-1, None]).ravel(), dtype=np.int64)
    return np.lexsort((value, cost, np.repeat(np.arange(len(size)), size)))


@dataclasses.dataclass(frozen=True, eq=False)
class Hull:
    """The lower convex hulls of all groups, as steps from one hull point to the next dearer one.

    Attributes
    ----------
    point
        ``(n_points,)`` int64 positions of the hull points, group by group, costs rising.
    first
        ``(n_groups,)`` int64 where each group's points begin in `point`: its cheapest choice.
    tail
        ``(n_steps,)`` int64 index into `point` from which each step departs; it arrives at ``tail + 1``.
    group
        ``(n_steps,)`` int64 group of each step.
    rate
        ``(n_steps,)`` float64 value saved per unit of cost, positive, strictly falling within a group.
    weight
        ``(n_steps,)`` cost of each step, positive.
    """

    point: NDArray[np.int64]
    first: NDArray[np.int64]
    tail: NDArray[np.int64]
    group: NDArray[np.int64]
    rate: NDArray[np.float64]
    weight: NDArray[Any]

    def split(self, rate: float) -> NDArray[np.int64]:
        """``(n_groups,)`` int64 index into `point` where each group stands after all steps of a higher rate."""
        at: NDArray[np.int64] = self.first + np.bincount(self.group[self.rate > rate], minlength=len(self.first))
        return at


def lower_hull(
    value: NDArray[np.float64], cost: NDArray[Any], group: NDArray[np.int64], position: NDArray[np.int64]
) -> Hull:
    """The lower convex hull of each group's undominated choices.

    Points above a chord are removed many at a time until none is left; each of them lies above a chord of two other
    points, so taking neighbours out together is sound.

    Parameters
    ----------
    value
        ``(n_choices,)`` float64.
    cost
        ``(n_choices,)`` int64 or float64.
    group
        ``(n_choices,)`` int64.
    position
        What `undominated` returned.

    Returns
    -------
    hull
        The hulls.
    """
    point = position
    while True:
        v, c, g = value[point], cost[point], group[point]
        joined = g[1:] == g[:-1]
        weight = c[1:] - c[:-1]
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            rate = (v[:-1] - v[1:]) / weight
        above = joined[:-1] & joined[1:] & (rate[:-1] <= rate[1:])
        if not above.any():
            break
        keep = np.ones(len(point), dtype=bool)
        keep[1:-1] = ~above
        point = point[keep]
    tail = joined.nonzero()[0]
    first = run_bounds(g)[:-1]
    return Hull(point, first, tail, g[tail], rate[tail], weight[tail])


def multiplier(rate: NDArray[np.float64], weight: NDArray[np.int64], room: int) -> float:
    """The rate of the step at which the room runs out when steps are taken in falling order of rate.

    Parameters
    ----------
    rate
        ``(n_steps,)`` float64.
    weight
        ``(n_steps,)`` int64, positive.
    room
        Cost that may be added to the cheapest selection, at least 0.

    Returns
    -------
    multiplier
        Value per unit of cost; 0 where all steps fit. All steps of a higher rate fit together, and those of this rate
        do not all fit.
    """
    if int(weight.sum()) <= room:
        return 0.0
    while len(rate) > _SORT_AT_ONCE:
        sample = np.sort(rate[:: len(rate) // _SAMPLE])
        low, high = -1, len(sample)  # the multiplier lies above sample[low] and not above sample[high]
        while high - low > 1:
            middle = (low + high) // 2
            if int(weight[rate > sample[middle]].sum()) <= room:
                high = middle
            else:
                low = middle
        inside = np.ones(len(rate), dtype=bool)
        if low >= 0:
            inside &= rate > sample[low]
        if high < len(sample):
            inside &= rate <= sample[high]
            room -= int(weight[rate > sample[high]].sum())
        if inside.all():  # all the rates left are equal
            break
        rate, weight = rate[inside], weight[inside]
    order = (-rate).argsort(kind="stable")
    return float(rate[order[weight[order].cumsum().searchsorted(room, side="right")]])
