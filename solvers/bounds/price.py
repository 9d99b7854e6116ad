"""The best prices of several budgets, by column generation on the linear relaxation."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import numpy as np

from .lagrangian import EPS, charge

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..problem.problem import Problem

_PIVOTS_PER_RESOURCE = 500
_DEARER = 100.0
_ENOUGH = 1e-12  # relative distance of the best bound found from the optimum of the relaxation
_ROUNDING = 1e-13
_NEGLIGIBLE = 1e-11  # prices below this share of the largest, in the same units, are rounding
_OVERRUN = 1e7  # an overrun that stays at this price (in largest values of a group) cannot be avoided


def dual_price(
    problem: Problem, counts: NDArray[np.bool_] | None = None, deadline: float = math.inf
) -> NDArray[np.float64] | None:
    """The multipliers that maximise the Lagrangian bound, by the decomposition of Dantzig and Wolfe.

    The linear relaxation is a mixture of whole selections that meets the budgets on average: a linear programme with
    one row per budget and one for the shares (Dantzig and Wolfe 1960, *Decomposition principle for linear programs*).
    Its simplex method needs a basis of ``n_resources + 1`` columns only; the column that enters is the selection that
    is cheapest at the prices of the basis, found group by group.

    Parameters
    ----------
    problem
        A problem in which every budget by itself can be met.
    counts
        ``(n_choices,)`` which choices there are, at least one in each group; by default those that can be within the
        budgets.
    deadline
        `time.perf_counter` reading at which to stop.

    Returns
    -------
    price
        ``(n_resources,)`` float64, at least 0, the best of all prices that were tried; None where the relaxation could
        not meet the budgets together.
    """
    tables = _Tables(problem, problem.fits if counts is None else counts)
    n = problem.n_resources
    best, excess = tables.cheapest(np.zeros(n))
    basis = np.zeros((n + 1, n + 1))
    basis[:n, :n] = np.diag(np.where(excess <= 0, 1.0, -1.0))  # unused budget, or overrun at a price
    basis[:n, n] = excess
    basis[n, n] = 1.0
    overrun = 1.0
    cost = np.append(np.where(excess <= 0, 0.0, overrun), best)
    is_overrun = np.append(excess > 0, False)
    price: NDArray[np.float64] = np.zeros(n)
    for _ in range(_PIVOTS_PER_RESOURCE * n):
        if time.perf_counter() > deadline:
            break
        inverse = _inverse(basis)
        if inverse is None:
            break
        dual = _added(cost[:, None] * inverse, axis=0)
        unused = int(np.argmax(dual[:n]))
        column = np.zeros(n + 1)
        if dual[unused] > _ROUNDING * float(np.abs(dual).max()):  # no price may be negative: unused budget enters
            column[unused], entering = 1.0, 0.0
        else:
            trial = np.maximum(-dual[:n], 0.0)
            entering, excess = tables.cheapest(trial)
            column[:n], column[n] = excess, 1.0
            bound = entering + float(_added(trial * excess, axis=0))
            if bound > best:
                best, price = bound, trial
            if dual[n] - best <= _ENOUGH * abs(best) + EPS:  # the largest value above the least of its group is 1
                # Overrun costs no more than it must, or prices would be large where budgets leave no room at all.
                if not (inverse[is_overrun, n] > _NEGLIGIBLE).any():
                    break
                if overrun > _OVERRUN * problem.n_groups:
                    return None
                overrun *= _DEARER
                cost[is_overrun] = overrun
                continue
        leaving = _leaving(inverse, column)
        if leaving is None:
            break
        basis[:, leaving], cost[leaving], is_overrun[leaving] = column, entering, False
    price = np.where(price < _NEGLIGIBLE * price.max(), 0.0, price)
    return price * tables.scale / tables.unit


def _added(terms: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Sums along an axis, added from the first to the last: rounded as the kernel rounds them."""
    sums: NDArray[np.float64] = terms.cumsum(axis=axis).take(-1, axis=axis)
    return sums


def _inverse(matrix: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """The inverse by elimination with the largest pivots of each column; None where there is no pivot."""
    n = len(matrix)
    both = np.hstack([matrix, np.eye(n)])
    for column in range(n):
        pivot = column + int(np.abs(both[column:, column]).argmax())
        if both[pivot, column] == 0:
            return None
        both[[column, pivot]] = both[[pivot, column]]
        both[column] /= both[column, column]
        factor = both[:, column].copy()
        factor[column] = 0.0
        both -= factor[:, None] * both[column]
    return both[:, n:]


def _leaving(inverse: NDArray[np.floating], column: NDArray[np.float64]) -> int | None:
    """The basic column whose share falls to zero first; the shares are the last column of the inverse."""
    change = _added(inverse * column, axis=1)
    falling = change > 1e-11 * np.abs(change).max()
    if not falling.any():
        return None
    share = np.maximum(inverse[:, -1], 0.0)
    return int(np.argmin(np.where(falling, share / np.where(falling, change, 1.0), np.inf)))


class _Tables:
    """Values and costs above the least of their group, as rectangular tables in units of order one.

    Attributes
    ----------
    scale
        What one unit of value is.
    unit
        ``(n_resources,)`` what one unit of each cost is.
    """

    def __init__(self, problem: Problem, counts: NDArray[np.bool_]) -> None:
        width = int(problem.size.max())
        self._shape = (problem.n_groups, width)
        begin = problem.start[:-1]
        # A choice that does not count is in no selection: no price need keep it out.
        value = np.where(counts, problem.value, np.inf)
        value = value - np.repeat(np.minimum.reduceat(value, begin), problem.size)
        cost = problem.cost - np.repeat(np.minimum.reduceat(problem.cost, begin, axis=1), problem.size, axis=1)
        self.scale = float(value.max(where=np.isfinite(value), initial=0.0)) or 1.0
        self.unit: NDArray[np.float64] = np.maximum(cost.max(axis=1), 1).astype(np.float64)
        self._value = value / self.scale
        self._cost = cost / self.unit[:, None]
        most = np.maximum.reduceat(cost, begin, axis=1).sum(axis=1).tolist()
        limits = zip(problem.budget.tolist(), problem.least_cost, most, strict=True)
        room = [min(limit - least, spread) for limit, least, spread in limits]
        self._room = np.array(room, dtype=np.float64) / self.unit
        self._first = np.arange(problem.n_groups) * width
        if not (problem.size == width).all():
            inside = self._first[problem.group] + np.arange(problem.n_choices) - begin[problem.group]
            value, self._value = self._value, np.full(problem.n_groups * width, np.inf)
            rows, self._cost = self._cost, np.zeros((problem.n_resources, problem.n_groups * width))
            self._value[inside], self._cost[:, inside] = value, rows

    def cheapest(self, price: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Value of the selection that is cheapest at a price, and by how much it exceeds each budget."""
        charged = charge(price, self._cost)
        charged += self._value
        chosen = charged.reshape(self._shape).argmin(axis=1) + self._first
        return float(_added(self._value[chosen], axis=0)), _added(self._cost[:, chosen], axis=1) - self._room
