"""The best prices of several budgets, by column generation on the linear relaxation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .problem import Problem

_PIVOTS_PER_RESOURCE = 500
_ENOUGH = 1e-12  # relative distance of the best bound found from the optimum of the relaxation
_ROUNDING = 1e-13
_OVERRUN = 1e7  # what a budget's worth of overrun costs, in the largest value of all groups together


def dual_price(problem: Problem) -> NDArray[np.float64] | None:
    """The multipliers that maximise the Lagrangian bound, by the decomposition of Dantzig and Wolfe.

    The linear relaxation is a mixture of whole selections that meets the budgets on average: a linear programme with
    one row per budget and one for the shares (Dantzig and Wolfe 1960, *Decomposition principle for linear programs*).
    Its simplex method needs a basis of ``n_resources + 1`` columns only; the column that enters is the selection that
    is cheapest at the prices of the basis, found group by group.

    Parameters
    ----------
    problem
        A problem in which every budget by itself can be met.

    Returns
    -------
    price
        ``(n_resources,)`` float64, at least 0, the best of all prices that were tried; None where the relaxation could
        not meet the budgets together.
    """
    tables = _Tables(problem)
    n = problem.n_resources
    value, excess = tables.cheapest(np.zeros(n))
    basis = np.zeros((n + 1, n + 1))
    basis[:n, :n] = np.diag(np.where(excess <= 0, 1.0, -1.0))  # unused budget, or overrun at a forbidding cost
    basis[:n, n] = excess
    basis[n, n] = 1.0
    cost = np.append(np.where(excess <= 0, 0.0, _OVERRUN * problem.n_groups), value)
    forbidden = cost[:n] > 0
    best, price = value if not forbidden.any() else -np.inf, np.zeros(n)
    for _ in range(_PIVOTS_PER_RESOURCE * n):
        try:
            inverse = np.linalg.inv(basis)
        except np.linalg.LinAlgError:
            break
        dual = cost @ inverse
        unused = int(np.argmax(dual[:n]))
        column = np.zeros(n + 1)
        if dual[unused] > _ROUNDING * float(np.abs(dual).max()):  # a price may not be negative: the unused part of this budget enters
            column[unused], entering = 1.0, 0.0
        else:
            trial = np.maximum(-dual[:n], 0.0)
            entering, excess = tables.cheapest(trial)
            bound = entering + float(trial @ excess)
            if bound > best:
                best, price = bound, trial
            if dual[n] - best <= _ENOUGH * abs(best):
                break
            column[:n], column[n] = excess, 1.0
        leaving = _leaving(inverse, column)
        if leaving is None:
            break
        basis[:, leaving], cost[leaving] = column, entering
        if leaving < n:
            forbidden[leaving] = False
    if forbidden.any():
        return None
    return price * tables.scale / tables.unit


def _leaving(inverse: NDArray[np.float64], column: NDArray[np.float64]) -> int | None:
    """The basic column whose share falls to zero first; the shares are the last column of the inverse."""
    change = inverse @ column
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

    def __init__(self, problem: Problem) -> None:
        width = int(problem.size.max())
        self._shape = (problem.n_groups, width)
        begin = problem.start[:-1]
        value = problem.value - np.repeat(np.minimum.reduceat(problem.value, begin), problem.size)
        cost = problem.cost - np.repeat(np.minimum.reduceat(problem.cost, begin, axis=1), problem.size, axis=1)
        self.scale = float(value.max()) or 1.0
        self.unit: NDArray[np.float64] = np.maximum(cost.max(axis=1), 1).astype(np.float64)
        self._value = value / self.scale
        self._cost = cost / self.unit[:, None]
        room = [int(limit) - least for limit, least in zip(problem.budget, problem.least_cost, strict=True)]
        self._room = np.array(room, dtype=np.float64) / self.unit
        self._first = np.arange(problem.n_groups) * width
        if not (problem.size == width).all():
            inside = self._first[problem.group] + np.arange(problem.n_choices) - begin[problem.group]
            value, self._value = self._value, np.full(problem.n_groups * width, np.inf)
            rows, self._cost = self._cost, np.zeros((problem.n_resources, problem.n_groups * width))
            self._value[inside], self._cost[:, inside] = value, rows

    def cheapest(self, price: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Value of the selection that is cheapest at a price, and by how much it exceeds each budget."""
        charged = price @ self._cost
        charged += self._value
        chosen = charged.reshape(self._shape).argmin(axis=1) + self._first
        return float(self._value[chosen].sum()), self._cost[:, chosen].sum(axis=1) - self._room
