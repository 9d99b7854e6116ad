"""Finds the best pair of partial selections: partners that leave little of any budget are looked up on a grid."""

from __future__ import annotations

import dataclasses
import math
import time
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_CELLS = 2**24  # of the grid; its table takes four bytes for each
_CELLS_PER_STATE = 8
_BLOCK = 2**19  # pairs looked at in one go
_FINENESS = 3  # cells along what may be left of a budget
_PAIR_COST = 1.0  # looking at a pair, in lookups
_SAMPLE = 10_000  # partial selections from which the spread of costs is estimated
_NO_SPREAD, _ROUNDING = 1e-9, 1e-9


@dataclasses.dataclass(frozen=True, eq=False)
class Half:
    """Partial selections in one half of the groups.

    Attributes
    ----------
    regret
        ``(n,)`` float64 sums of reduced costs.
    cost
        ``(n_resources, n)`` integers relative to the reference.
    """

    regret: NDArray[np.float64]
    cost: NDArray[np.signedinteger]

    def at(self, index: NDArray[np.int64]) -> Half:
        """Some of them."""
        return Half(self.regret[index], self.cost[:, index])


@dataclasses.dataclass(frozen=True)
class Pair:
    """The best pair: its total, or ``inf``, where it is in each half, and whether all pairs were looked at."""

    total: float
    left: int
    right: int
    exhausted: bool


def best_pair(
    left: Half,
    right: Half,
    price: NDArray[np.float64],
    slack: tuple[int, ...],
    ceiling: float,
    least_gain: float,
    deadline: float,
) -> Pair:
    """The pair within every budget whose total is least, where it is not above a ceiling.

    The total of a pair is the sum of its reduced costs and of what it leaves of the budgets, at their prices. So of a
    budget with a price at most ``ceiling / price`` may be left, and the partners of a partial selection lie in a small
    box: they are looked up in the cells of a grid over those resources that tell most partial selections apart.

    Parameters
    ----------
    left, right
        The halves.
    price
        ``(n_resources,)`` float64, not all of them 0.
    slack
        Budgets left by the reference.
    ceiling
        Totals above this are of no interest.
    least_gain
        Once a pair was found, a better one must have a total smaller by this.
    deadline
        `time.perf_counter` reading at which to stop.

    Returns
    -------
    pair
        The best pair.
    """
    best = Pair(math.inf, 0, 0, exhausted=True)
    room = np.array(slack, dtype=left.cost.dtype)[:, None] - left.cost
    axes = _axes(right.cost, room, price, ceiling)
    offsets = _offsets(axes, price, ceiling)
    pad = sum((axis.offsets - 1) * axis.stride for axis in axes)
    first, by_code = _table(axes, right.cost, pad)
    partners = right.at(by_code)
    candidates, code = _wanted(axes, room, pad)
    room, regret = room[:, candidates], left.regret[candidates]
    # The grid has nearly checked its own resources, so the others come first.
    on_grid = [axis.resource for axis in axes]
    checks = [each for each in np.argsort(-price, kind="stable").tolist() if each not in on_grid] + on_grid
    threshold = ceiling
    for charge, offset in offsets:
        if charge > threshold:
            break
        begin = first[code - offset]
        number = first[code - offset + 1] - begin
        near = np.flatnonzero((number > 0) & (regret <= threshold - charge))
        for at, partner in _pairs(near, begin[near], number[near]):
            if time.perf_counter() > deadline:
                return dataclasses.replace(best, exhausted=False)
            total, index = _totals(regret, room, partners, price, checks, at, partner, threshold)
            if len(total):
                least = int(np.argmin(total))
                one = index[least]
                best = Pair(float(total[least]), int(candidates[at[one]]), int(by_code[partner[one]]), exhausted=True)
                threshold = best.total - least_gain
    return best


@dataclasses.dataclass(frozen=True)
class _Axis:
    """One resource of the grid: its cells, and how many of them what is left of the budget may span."""

    resource: int
    width: int
    low: int
    count: int
    stride: int
    offsets: int

    def cell(self, cost: NDArray[np.signedinteger]) -> NDArray[np.signedinteger]:
        """Cells of costs, counted from the lowest."""
        wide = cost if self.width == 1 else cost // cost.dtype.type(self.width)
        return wide - cost.dtype.type(self.low)


def _table(axes: list[_Axis], cost: NDArray[np.signedinteger], pad: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Where the partial selections of each cell begin in the order of their cells, and that order."""
    code = np.zeros(cost.shape[1], dtype=np.int32)
    for axis in axes:
        code += axis.cell(cost[axis.resource]).astype(np.int32) * np.int32(axis.stride)
    # A code that is off the grid, by what is left of the budgets, must be in the table, too.
    first = np.zeros(axes[-1].stride * axes[-1].count + 2 * pad + 2, dtype=np.int32)
    np.cumsum(np.bincount(code + pad, minlength=len(first) - 1), out=first[1:])
    return first, np.argsort(code, kind="stable")


def _wanted(
    axes: list[_Axis], room: NDArray[np.signedinteger], pad: int
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """The partial selections that can have a partner, by the cell of one that would leave nothing, and that cell."""
    inside = np.ones(room.shape[1], dtype=bool)
    cells = [axis.cell(room[axis.resource]) for axis in axes]
    for axis, cell in zip(axes, cells, strict=True):
        inside &= (cell >= 0) & (cell < axis.count + axis.offsets - 1)
    candidates = np.flatnonzero(inside)
    code = np.full(len(candidates), pad, dtype=np.int32)
    for axis, cell in zip(axes, cells, strict=True):
        code += cell[candidates].astype(np.int32) * np.int32(axis.stride)
    order = np.argsort(code, kind="stable")
    return candidates[order], code[order]


def _axes(
    cost: NDArray[np.signedinteger], room: NDArray[np.signedinteger], price: NDArray[np.float64], ceiling: float
) -> list[_Axis]:
    """The axes of the grid, as long as one more saves more looking at pairs than it adds lookups."""
    n_left = room.shape[1]
    least, most = cost.min(axis=1).astype(np.int64), cost.max(axis=1).astype(np.int64)
    some = cost[:, :: max(1, cost.shape[1] // _SAMPLE)]
    spread = np.maximum(some.std(axis=1, dtype=np.float64), _NO_SPREAD)
    left = np.maximum(room.max(axis=1).astype(np.int64) - least, 0).astype(np.float64)
    with np.errstate(divide="ignore", over="ignore"):
        left = np.minimum(ceiling / price * (1 + _ROUNDING), left)
    cells, lookups, looked, work = 1, 1.0, float(cost.shape[1]), math.inf
    axes: list[_Axis] = []
    limit = min(_CELLS, _CELLS_PER_STATE * cost.shape[1] + 1024)
    for resource in np.argsort((left + 1) / spread, kind="stable").tolist():
        if price[resource] <= 0 or limit // cells < 4:
            continue
        span = int(most[resource] - least[resource])
        width = max(1, int(left[resource]) // _FINENESS, -(-span // (limit // cells - 2)))
        offsets = (int(left[resource]) + width - 1) // width + 1
        share = min(1.0, offsets * width / (3.5 * spread[resource]))
        # What all resources together may leave is bounded, so combinations fill a simplex and not a box.
        lookups, looked = lookups * offsets / (len(axes) + 1), looked * share / (1 if share == 1 else len(axes) + 1)
        if n_left * (lookups + _PAIR_COST * looked) >= work:
            break
        work = n_left * (lookups + _PAIR_COST * looked)
        low = int(least[resource]) // width
        count = int(most[resource]) // width - low + 1
        axes.append(_Axis(resource, width, low, count, cells, offsets))
        cells *= count
    return axes


def _offsets(axes: list[_Axis], price: NDArray[np.float64], ceiling: float) -> list[tuple[float, int]]:
    """How far below the cell that would leave nothing a partner may lie, as codes, and the least that this costs."""
    found = [(0.0, 0)]
    for axis in axes:
        each = float(price[axis.resource])
        steps = [
            (each * max(0, axis.width * step - axis.width + 1), axis.stride * step) for step in range(axis.offsets)
        ]
        found = [(a + b, i + j) for a, i in found for b, j in steps if a + b <= ceiling]
    return sorted(found)


def _pairs(
    near: NDArray[np.int64], begin: NDArray[np.int32], number: NDArray[np.int32]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Every partial selection of the left half with each partner, in blocks."""
    end = np.cumsum(number, dtype=np.int64)
    at = 0
    while at < len(near):
        before = int(end[at - 1]) if at else 0
        stop = max(at + 1, int(np.searchsorted(end, before + _BLOCK, side="right")))
        some = number[at:stop]
        shift = begin[at:stop] - (end[at:stop] - some)
        yield np.repeat(near[at:stop], some), np.arange(before, int(end[stop - 1])) + np.repeat(shift, some)
        at = stop


def _totals(
    regret: NDArray[np.float64],
    room: NDArray[np.signedinteger],
    partners: Half,
    price: NDArray[np.float64],
    checks: list[int],
    at: NDArray[np.int64],
    partner: NDArray[np.int64],
    threshold: float,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Totals of the pairs within every budget and the threshold, and which pairs these are."""
    index = np.arange(len(at))
    total = np.zeros(1)
    for resource in checks:
        unused = room[resource, at] - partners.cost[resource, partner]
        total = total + price[resource] * unused
        keep = np.flatnonzero((unused >= 0) & (total <= threshold))
        total, index, at, partner = total[keep], index[keep], at[keep], partner[keep]
    total = total + regret[at] + partners.regret[partner]
    keep = np.flatnonzero(total <= threshold)
    return total[keep], index[keep]
