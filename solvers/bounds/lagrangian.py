"""The Lagrangian bound, which a price proves, and Farkas' proof of infeasibility; both allow for every rounding."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from .normal_form import fitting

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..problem.problem import Problem


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
        Of a problem with pairwise terms: the share of each choice, see `reparametrise`.

    Returns
    -------
    bound
        A number that the exact dual value does not fall below; ``-inf`` where the terms overflow.
    """
    above, room = problem.above, problem.room
    fits = fitting(problem)
    value, rest = (problem.value, 0.0) if problem.pairs is None else reparametrise(problem, split, fits)
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


def reparametrise(
    problem: Problem, split: NDArray[np.float64] | None, fits: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], float]:
    """Move shares of the pairwise terms to single choices; what is left is bounded for each two groups.

    For any shares, ``q_ij = s_ij + s_ji + (q_ij - s_ij - s_ji)``: the first two are added to the values of the choices
    ``i`` and ``j``, and the rest of two groups is at least its minimum over their choices (reparametrisation of a
    pairwise model: Werner, 2007, *A linear programming approach to max-sum problem: a review*).

    Parameters
    ----------
    problem
        A problem with pairs.
    split
        ``(n_groups, n_choices)`` float64: ``split[h, i]`` is the share of the terms of choice ``i`` with the choices
        of group ``h`` that goes to ``i``; None for no shares.
    fits
        ``(n_choices,)`` the choices that a feasible selection can hold.

    Returns
    -------
    value
        ``(n_choices,)`` values with the shares, lowered by their rounding error.
    rest
        A lower bound on the sum of what is left between all pairs of groups.
    """
    assert problem.pairs is not None
    matrix = problem.pairs.dense(problem.n_choices)
    shares = np.zeros((problem.n_groups, problem.n_choices)) if split is None else split.copy()
    shares[problem.group, np.arange(problem.n_choices)] = 0  # no choice has terms with its own group
    received = shares[problem.group]  # of choice i (column) from the group of choice j (row)
    slip = 4 * EPS * (np.abs(matrix) + np.abs(received) + np.abs(received.T))
    left = matrix - received - received.T - slip
    left[~fits] = np.inf
    left[:, ~fits] = np.inf
    least = np.minimum.reduceat(np.minimum.reduceat(left, problem.start[:-1], axis=0), problem.start[:-1], axis=1)
    terms = least[np.triu_indices(problem.n_groups, 1)]
    rest = float(terms.sum()) - 2 * (len(terms) + 1) * EPS * float(np.abs(terms).sum())
    magnitude = np.abs(problem.value) + np.abs(shares).sum(axis=0)
    value = problem.value + shares.sum(axis=0) - 2 * (problem.n_groups + 1) * EPS * magnitude
    return value, rest
