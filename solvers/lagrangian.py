"""What a price proves: rigorous bounds that allow for every rounding."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from .normal import fitting
from .pairs import shared_out

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .problem import Problem

EPS = float(np.finfo(np.float64).eps)


def lagrangian_bound(problem: Problem, price: NDArray[np.float64], split: NDArray[np.float64] | None = None) -> float:
    """The Lagrangian dual function at a price, less its rounding error.

    ``L(price) = sum_g min_j (value_j + price . cost_j) - price . budget`` bounds the value of every feasible selection
    from below (Everett 1963, *Generalized Lagrange multiplier method for solving problems of optimum allocation of
    resources*). Costs count from the cheapest of their group, which changes nothing but keeps the terms small, and
    choices that exceed a budget even when every other group costs its least are left out: no feasible selection holds
    them.

    Parameters
    ----------
    problem
        The problem.
    price
        ``(n_resources,)`` float64, at least 0: value per unit of cost.
    split
        Of a problem with pairwise terms: how these are shared out, see `shared_out`.

    Returns
    -------
    bound
        A number that the exact dual value does not fall below; ``-inf`` where the terms overflow.
    """
    above, room = problem.above, problem.room
    fits = fitting(problem)
    value, rest = (problem.value, 0.0) if problem.pairs is None else shared_out(problem, split, fits)
    with np.errstate(over="ignore", invalid="ignore"):
        priced = charge(price, above)
        slip = (problem.n_resources + 2) * EPS * (np.abs(value) + priced)
        lowest = np.where(fits, value + priced - slip, np.inf)
        least = np.minimum.reduceat(lowest, problem.start[:-1])
    return _sum_below([*least.tolist(), rest, *_budget_terms(price, room)])


def farkas_excess(problem: Problem, price: NDArray[np.float64]) -> float:
    """By how much, at least, the cheapest selection at a price exceeds the budgets at that price.

    Parameters
    ----------
    problem
        The problem.
    price
        ``(n_resources,)`` float64, at least 0.

    Returns
    -------
    excess
        ``sum_g min_j price . cost_j - price . budget`` less its rounding error; positive proves infeasibility (the
        lemma of Farkas). With a single positive price the sign is exact.
    """
    above, room = problem.above, problem.room
    used = np.flatnonzero(price)
    if len(used) == 1:
        return float(-room[used[0]]) * float(price[used[0]])
    with np.errstate(over="ignore", invalid="ignore"):
        priced = charge(price, above)
        least = np.minimum.reduceat(priced * (1 - (problem.n_resources + 2) * EPS), problem.start[:-1])
    return _sum_below([*least.tolist(), *_budget_terms(price, room)])


def charge(price: NDArray[np.float64], cost: NDArray[np.int64]) -> NDArray[np.float64]:
    """``price @ cost``, summed resource by resource: the same rounding on every machine.

    Parameters
    ----------
    price
        ``(n_resources,)`` float64.
    cost
        ``(n_resources, n)`` int64.

    Returns
    -------
    charge
        ``(n,)`` float64.
    """
    total: NDArray[np.float64] = price[0] * cost[0]
    for each, row in zip(price[1:], cost[1:], strict=True):
        total += each * row
    return total


def _budget_terms(price: NDArray[np.float64], room: tuple[int, ...]) -> list[float]:
    terms = [-float(each) * float(left) for each, left in zip(price, room, strict=True)]
    return [term - 3 * EPS * abs(term) for term in terms]


def _sum_below(terms: list[float]) -> float:
    """The sum, rounded down; ``-inf`` where it is not finite."""
    try:
        total = math.fsum(terms)
    except (OverflowError, ValueError):
        return -math.inf
    return math.nextafter(total, -math.inf) if math.isfinite(total) else -math.inf
