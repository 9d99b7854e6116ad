"""Seeded problems of the families that the knapsack literature uses, of any size.

The five one-budget families are Pisinger's (1995, *A minimal algorithm for the multiple-choice knapsack problem*, EJOR
83, 394-410), who maximises profit: the value here is the negated profit. Weights are integers up to `reach` (his R),
and the capacity is half the sum over groups of least and greatest weight.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .problem.arguments import check_seed, check_whole
from .problem.arrays import as_array, floats
from .problem.problem import Problem

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def uncorrelated(n_groups: int, n_choices: int, *, reach: int = 1000, seed: int = 0) -> Problem:
    """Weight and profit drawn independently, uniform in 1 to `reach`.

    Parameters
    ----------
    n_groups, n_choices
        How many groups, of how many choices each.
    reach
        Greatest weight and profit.
    seed
        Of the draws.

    Returns
    -------
    problem
        Value is the negated profit.
    """
    rng = _generator(n_groups, n_choices, reach, seed)
    weight = rng.integers(1, reach + 1, (n_groups, n_choices))
    return _halved(rng.integers(1, reach + 1, (n_groups, n_choices)), weight)


def weakly_correlated(n_groups: int, n_choices: int, *, reach: int = 1000, seed: int = 0) -> Problem:
    """Weight uniform in 1 to `reach`, profit within ten of it and at least 1.

    Parameters
    ----------
    n_groups, n_choices
        How many groups, of how many choices each.
    reach
        Greatest weight.
    seed
        Of the draws.

    Returns
    -------
    problem
        Value is the negated profit.
    """
    rng = _generator(n_groups, n_choices, reach, seed)
    weight = rng.integers(1, reach + 1, (n_groups, n_choices))
    return _halved(np.maximum(1, weight + rng.integers(-10, 11, weight.shape)), weight)


def strongly_correlated(n_groups: int, n_choices: int, *, reach: int = 1000, seed: int = 0) -> Problem:
    """Steps of weight uniform in 1 to `reach` and of profit ten more, sorted, then both cumulated.

    Every group is a concave chain of steps, and nearly all groups belong to the core.

    Parameters
    ----------
    n_groups, n_choices
        How many groups, of how many choices each.
    reach
        Greatest step of weight.
    seed
        Of the draws.

    Returns
    -------
    problem
        Value is the negated profit.
    """
    rng = _generator(n_groups, n_choices, reach, seed)
    step = np.sort(rng.integers(1, reach + 1, (n_groups, n_choices)), axis=1)
    return _halved(np.cumsum(step + 10, axis=1), np.cumsum(step, axis=1))


def subset_sum(n_groups: int, n_choices: int, *, reach: int = 1000, seed: int = 0) -> Problem:
    """Profit equals weight, uniform in 1 to `reach`: every choice pays the same rate, so bounds tell nothing apart.

    Parameters
    ----------
    n_groups, n_choices
        How many groups, of how many choices each.
    reach
        Greatest weight.
    seed
        Of the draws.

    Returns
    -------
    problem
        Value is the negated profit.
    """
    rng = _generator(n_groups, n_choices, reach, seed)
    weight = rng.integers(1, reach + 1, (n_groups, n_choices))
    return _halved(weight, weight)


def zigzag(n_groups: int, n_choices: int, *, reach: int = 1000, seed: int = 0) -> Problem:
    """Weights and profits uniform in 1 to `reach`, each sorted, then paired: a heavier choice has no less profit.

    After Sinha and Zoltners (1979, *The multiple-choice knapsack problem*).

    Parameters
    ----------
    n_groups, n_choices
        How many groups, of how many choices each.
    reach
        Greatest weight and profit.
    seed
        Of the draws.

    Returns
    -------
    problem
        Value is the negated profit.
    """
    rng = _generator(n_groups, n_choices, reach, seed)
    weight = np.sort(rng.integers(1, reach + 1, (n_groups, n_choices)), axis=1)
    return _halved(np.sort(rng.integers(1, reach + 1, weight.shape), axis=1), weight)


def several_budgets(n_groups: int, n_choices: int, n_budgets: int, *, reach: int = 10, seed: int = 0) -> Problem:
    """A multiple-choice multi-dimensional knapsack: every weight uniform in 0 to `reach`, all capacities at half.

    Profits follow the weights (their mean times a factor uniform in 0.8 to 1.2, and `reach` over ten): the harder kind,
    after Khan et al. (2002, *Solving the knapsack problem for adaptive multimedia systems*).

    Parameters
    ----------
    n_groups, n_choices, n_budgets
        How many groups, of how many choices each, under how many budgets.
    reach
        Greatest weight.
    seed
        Of the draws.

    Returns
    -------
    problem
        Value is the negated profit, a whole number of tenths.

    Raises
    ------
    InvalidProblem
        When a size or the seed makes no sense.
    """
    rng = _generator(n_groups, n_choices, reach, seed)
    check_whole("n_budgets", n_budgets, 1)
    weight = rng.integers(0, reach + 1, (n_budgets, n_groups, n_choices))
    profit = np.rint(10 * n_budgets * (weight.mean(axis=0) * rng.uniform(0.8, 1.2, weight.shape[1:]) + reach / 10))
    budget = (weight.min(axis=2).sum(axis=1) + weight.max(axis=2).sum(axis=1)) // 2
    return Problem.from_table(-profit / 10, weight, budget)


def mmkp(value: ArrayLike, weight: ArrayLike, capacity: ArrayLike) -> Problem:
    """A published multiple-choice multi-dimensional knapsack, as its files state it.

    Parameters
    ----------
    value
        ``(n_groups, n_choices)`` profits, maximised.
    weight
        ``(n_groups, n_choices, n_resources)`` integers.
    capacity
        ``(n_resources,)`` integers.

    Returns
    -------
    problem
        Value is the negated profit.
    """
    weights = as_array("weight", weight, gaps=True)
    return Problem.from_table(-floats("value", value, nan=True), np.moveaxis(weights, -1, 0), capacity)


def _generator(n_groups: int, n_choices: int, reach: int, seed: int) -> np.random.Generator:
    for name, number in (("n_groups", n_groups), ("n_choices", n_choices), ("reach", reach)):
        check_whole(name, number, 1)
    check_seed(seed)
    return np.random.default_rng(seed)


def _halved(profit: NDArray[np.int64], weight: NDArray[np.int64]) -> Problem:
    capacity = int(weight.min(axis=1).sum() + weight.max(axis=1).sum()) // 2
    return Problem.from_table(-profit.astype(np.float64), weight, capacity)
