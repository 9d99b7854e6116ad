"""Lists of nondominated states, and how a group of choices is merged into one.

Lists of nondominated states are exact with real values (Nemhauser and Ullmann 1969, *Discrete dynamic programming and
capital allocation*). Two things make merging fast here. Groups enter in an order that keeps costs on a coarse grid as
long as possible: tensors share large powers of two, and the one that does not goes last. While the grid has few cells
for each state, a merge is one shifted minimum per choice instead of a sort.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from ..kernels.dispatch import compiled
from ..problem.arrays import INT64_MAX

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CELLS_PER_STATE = 16  # a sort costs about as much per state as shifted minima over this many cells
_MOST_CELLS = 2**26


@dataclasses.dataclass(frozen=True, eq=False)
class States:
    """Partial selections, by strictly rising cost and strictly falling value.

    Attributes
    ----------
    cost
        ``(n,)`` int64, counted from that of a base selection.
    value
        ``(n,)`` float64, counted from that of a base selection.
    """

    cost: NDArray[np.int64]
    value: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.cost)

    @classmethod
    def empty_selection(cls) -> States:
        """The one state before any group has entered."""
        return cls(np.zeros(1, dtype=np.int64), np.zeros(1))


def merge(states: States, cost: NDArray[np.int64], value: NDArray[np.float64], *, room: int, unit: int) -> States:
    """Every state with every choice of one more group, less what is dominated or does not fit.

    Parameters
    ----------
    states
        The states so far; their costs are at least 0.
    cost
        ``(n_choices,)`` int64 of the group, rising from 0.
    value
        ``(n_choices,)`` float64 of the group.
    room
        The most that a state may cost.
    unit
        A common divisor of all these costs.

    Returns
    -------
    states
        The states with the group.
    """
    kernels = compiled()
    if kernels is None:
        return merge_in_numpy(states, cost, value, room=room, unit=unit)
    cost, value, cells = _within(states, cost, value, room, unit)
    most = min(len(states) * len(cost), cells or INT64_MAX) + 1  # the kernel writes one beyond what stays
    made, worth = np.empty(most, dtype=np.int64), np.empty(most)
    count = kernels.merge(states.cost, states.value, cost, value, made, worth, room, cells, unit)
    return States(made[:count].copy(), worth[:count].copy())


def merge_in_numpy(
    states: States, cost: NDArray[np.int64], value: NDArray[np.float64], *, room: int, unit: int
) -> States:
    """What `merge` does, in NumPy."""
    cost, value, cells = _within(states, cost, value, room, unit)
    if cells:
        return _merge_on_grid(states, cost // unit, value, cells, unit)
    return _merge_by_sorting(states, cost, value, room)


def _within(
    states: States, cost: NDArray[np.int64], value: NDArray[np.float64], room: int, unit: int
) -> tuple[NDArray[np.int64], NDArray[np.float64], int]:
    """The choices that fit, and how many cells a grid of their costs has; 0 where it has too many."""
    fits = int(np.searchsorted(cost, room, side="right"))
    cost, value = cost[:fits], value[:fits]
    cells = min(int(states.cost[-1]) + int(cost[-1]), room) // unit + 1
    return cost, value, cells if cells <= min(_CELLS_PER_STATE * len(states), _MOST_CELLS) else 0


def _merge_on_grid(
    states: States, shift: NDArray[np.int64], value: NDArray[np.float64], cells: int, unit: int
) -> States:
    held = np.full(int(states.cost[-1]) // unit + 1, np.inf)
    held[states.cost // unit] = states.value
    least = np.full(cells, np.inf)
    shifted = np.empty(len(held))
    for offset, extra in zip(shift.tolist(), value.tolist(), strict=True):
        here = least[offset : offset + len(held)]
        np.add(held, extra, out=shifted)
        np.minimum(here, shifted[: len(here)], out=here)
    np.minimum.accumulate(least, out=least)
    falls = np.empty(cells, dtype=bool)
    falls[0] = True  # the cheapest choices all cost 0
    np.less(least[1:], least[:-1], out=falls[1:])
    cell = np.flatnonzero(falls)
    return States(cell * unit, least[cell])


def _merge_by_sorting(states: States, cost: NDArray[np.int64], value: NDArray[np.float64], room: int) -> States:
    every_cost = (states.cost + cost[:, None]).ravel()
    every_value = (states.value + value[:, None]).ravel()
    order = np.argsort(every_cost, kind="stable")  # merges the sorted runs, one per choice
    order = order[: np.searchsorted(every_cost, room, side="right", sorter=order)]
    return nondominated(every_cost[order], every_value[order])


def nondominated(cost: NDArray[np.int64], value: NDArray[np.float64]) -> States:
    """The states that no other one beats or equals.

    Parameters
    ----------
    cost
        ``(n,)`` int64, rising; ties in any order.
    value
        ``(n,)`` float64.

    Returns
    -------
    states
        What is left.
    """
    keep = np.ones(len(cost), dtype=bool)
    np.less(value[1:], np.minimum.accumulate(value)[:-1], out=keep[1:])
    cost, value = cost[keep], value[keep]
    last = np.ones(len(cost), dtype=bool)
    np.not_equal(cost[1:], cost[:-1], out=last[:-1])  # of equal costs the last one kept has the least value
    return States(cost[last], value[last])


def entry_order(cost: NDArray[np.int64], bounds: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """In which order groups should enter so that the lists stay short.

    Small groups first keeps the lists short where costs have nothing in common. Where they do, groups on the coarsest
    grid come first. The estimate that decides: a list has no more states than selections, or than cells of its grid.

    Parameters
    ----------
    cost
        ``(n,)`` int64 of all undominated choices, rising from 0 within each group.
    bounds
        ``(n_groups + 1,)`` int64 where each group begins.

    Returns
    -------
    order
        ``(n,)`` int64 the groups with more than one choice.
    unit
        ``(n,)`` int64 the common divisor of all costs from the first group to this one.
    """
    size = np.diff(bounds)
    groups = np.flatnonzero(size > 1)
    spread = cost[bounds[1:] - 1]
    divisor = np.gcd.reduceat(cost, bounds[:-1])
    small_first = groups[np.argsort(spread[groups], kind="stable")]
    coarse_first: list[NDArray[np.int64]] = []
    left, unit = small_first, np.int64(0)
    while len(left):
        unit = np.gcd(unit, divisor[left]).max()
        on_grid = divisor[left] % unit == 0
        coarse_first.append(left[on_grid])
        left = left[~on_grid]
    orders = [small_first, np.concatenate([small_first[:0], *coarse_first])]
    units = [np.gcd.accumulate(divisor[order]) for order in orders]

    def work(which: int) -> float:
        cells = np.cumsum(spread[orders[which]]) / units[which] + 1
        selections = np.exp(np.minimum(np.cumsum(np.log(size[orders[which]])), 100.0))
        return float(np.minimum(cells, selections).sum())

    chosen = min((0, 1), key=work)
    return orders[chosen], units[chosen]
