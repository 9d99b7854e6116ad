"""The price at which the Lagrangian bound is highest, and Farkas prices, which prove infeasibility."""

from __future__ import annotations

import math
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import require
from ..system.interrupt import OutOfTime, interruptible
from .hull import Hull, lower_hull, multiplier, undominated
from .lagrangian import farkas_excess
from .price import dual_price

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_array

    from ..problem.problem import Problem

_PATIENCE = 0.3  # seconds past its limit that a linear programme is waited for: it keeps it, as a rule
PRICED_BY_PIVOTS = (
    16  # beyond this many budgets a general simplex method is faster than one that prices whole selections
)


def best_price(
    problem: Problem, counts: NDArray[np.bool_] | None = None, deadline: float = math.inf
) -> NDArray[np.float64]:
    """The multipliers of the linear relaxation, which maximise the Lagrangian bound.

    Parameters
    ----------
    problem
        A problem in which every budget by itself can be met.
    counts
        ``(n_choices,)`` which choices there are, at least one in each group; by default those that can be within the
        budgets, as no others can be in a selection.
    deadline
        `time.perf_counter` reading at which to stop: with several budgets the price is then not the best.

    Returns
    -------
    price
        ``(n_resources,)`` float64, at least 0. Any price gives a valid bound, so errors of the relaxation cost
        sharpness, never truth; where it cannot meet the budgets together, all prices are 0.
    """
    if counts is None:
        counts = problem.fits
    if problem.n_resources == 1:
        position = undominated(problem.value, problem.cost[0], problem.start)
        position = position[counts[position]]
        return np.array([relax_one_budget(problem, position)[1]])
    price = _relaxed_price(problem, counts, deadline) if problem.n_resources > PRICED_BY_PIVOTS else None
    if price is None:
        price = dual_price(problem, counts, deadline)
    return np.zeros(problem.n_resources) if price is None else price


def _relaxed_price(problem: Problem, counts: NDArray[np.bool_], deadline: float) -> NDArray[np.float64] | None:
    """The multipliers of the linear relaxation from a general solver; None where it finds none.

    Its tolerances are absolute, so values count in the largest difference within a group.
    """
    rows, unit = _budget_rows(problem)
    value = np.where(counts, problem.value, np.inf)
    value = np.where(counts, value - np.minimum.reduceat(value, problem.start[:-1])[problem.group], 0.0)
    scale = float(value.max()) or 1.0
    result = minimised(
        deadline,
        value / scale,
        A_ub=rows,
        b_ub=problem.budget / unit,
        A_eq=_one_per_group(problem),
        b_eq=np.ones(problem.n_groups),
        bounds=np.column_stack([np.zeros(len(counts)), np.where(counts, np.inf, 0.0)]),
    )
    if result is None:
        return None
    dual = np.asarray(result.ineqlin.marginals, dtype=np.float64)
    price: NDArray[np.float64] = np.maximum(-dual, 0.0) * scale / unit
    return price


def minimised(
    deadline: float,
    objective: NDArray[np.float64],
    *,
    A_ub: csr_array,
    b_ub: NDArray[np.float64],
    A_eq: csr_array,
    b_eq: NDArray[np.float64],
    bounds: NDArray[np.float64] | tuple[int, None] = (0, None),
) -> Any | None:
    """Solve a linear programme by the dual simplex method of HiGHS, through SciPy.

    Parameters
    ----------
    deadline
        `time.perf_counter` reading at which to stop.
    objective, A_ub, b_ub, A_eq, b_eq, bounds
        As for ``scipy.optimize.linprog``.

    Returns
    -------
    result
        Its result at a vertex that is optimal; None where none was found in time.

    Raises
    ------
    KeyboardInterrupt
        When the user interrupts.
    """
    linprog = require("scipy.optimize", None).linprog
    left = deadline - time.perf_counter()
    if left <= 0:
        return None
    call = partial(linprog, objective, A_ub, b_ub, A_eq, b_eq, bounds, "highs-ds", options={"time_limit": left})
    try:
        result, _ = interruptible(call, deadline=deadline + _PATIENCE)
    except OutOfTime:
        return None
    return result if result.status == 0 else None


def relax_one_budget(problem: Problem, undominated_position: NDArray[np.int64]) -> tuple[Hull, float]:
    """The linear relaxation of a problem with one budget: its hulls, and the rate at which the budget runs out."""
    hull = lower_hull(problem.value, problem.cost[0], problem.group, undominated_position)
    room = int(problem.budget[0]) - problem.least_cost[0]
    return hull, multiplier(hull.rate, hull.weight, room)


def farkas_price(problem: Problem, deadline: float = math.inf) -> NDArray[np.float64] | None:
    """A price that proves that no selection is within every budget, or None where the linear relaxation is feasible.

    Parameters
    ----------
    problem
        The problem.
    deadline
        `time.perf_counter` reading at which to stop looking.

    Returns
    -------
    price
        ``(n_resources,)`` float64 whose `farkas_excess` is positive, or None.
    """
    for resource in range(problem.n_resources):
        if problem.least_cost[resource] > problem.budget[resource]:
            alone: NDArray[np.float64] = np.eye(problem.n_resources)[resource]
            return alone
    if problem.n_resources == 1:
        return None
    rows, unit = _budget_rows(problem)
    sparse = require("scipy.sparse", None)
    overrun = sparse.csr_array(-np.ones((problem.n_resources, 1)))
    result = minimised(
        deadline,
        np.append(np.zeros(problem.n_choices), 1.0),
        A_ub=sparse.hstack([rows, overrun], format="csr"),
        b_ub=problem.budget / unit,
        A_eq=sparse.hstack([_one_per_group(problem), sparse.csr_array((problem.n_groups, 1))], format="csr"),
        b_eq=np.ones(problem.n_groups),
    )
    if result is None or result.fun <= 0:
        return None
    dual = np.asarray(result.ineqlin.marginals, dtype=np.float64)
    price: NDArray[np.float64] = np.maximum(-dual, 0.0) / unit
    if farkas_excess(problem, price) > 0:
        return price
    return None


def _budget_rows(problem: Problem) -> tuple[csr_array, NDArray[np.float64]]:
    """The budget rows, each scaled to entries of at most one, and the scale."""
    sparse = require("scipy.sparse", None)
    unit = np.maximum(problem.cost.max(axis=1), 1).astype(np.float64)
    return sparse.csr_array(problem.cost / unit[:, None]), unit


def _one_per_group(problem: Problem) -> csr_array:
    sparse = require("scipy.sparse", None)
    ones = np.ones(problem.n_choices)
    matrix: csr_array = sparse.csr_array(
        (ones, np.arange(problem.n_choices), problem.start), shape=(problem.n_groups, problem.n_choices)
    )
    return matrix
