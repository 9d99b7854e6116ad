"""Maximisation and minima of `Problem.from_table`, against every selection tried one by one."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mckp_quant.solvers import InvalidProblem, Problem, Status, solve


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=60)
def test_the_best_selection_is_that_of_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n_groups, n_columns, n_resources = (int(each) for each in rng.integers(1, 4, 3))
    value = rng.integers(-9, 9, (n_groups, n_columns)).astype(float)
    value[np.less(rng.random(value.shape), 0.2)] = np.nan
    value[:, 0] = 1.0
    cost = rng.integers(0, 9, (n_resources, n_groups, n_columns))
    budget = rng.integers(0, 9 * n_groups + 1, n_resources)
    at_least = rng.integers(-2, 5 * n_groups + 1, n_resources)
    best = -math.inf
    for columns in itertools.product(range(n_columns), repeat=n_groups):
        at = (np.arange(n_groups), np.array(columns))
        used = cost[:, at[0], at[1]].sum(axis=1)
        if (used <= budget).all() and (used >= at_least).all() and not np.isnan(value[at]).any():
            best = max(best, float(value[at].sum()))
    solution = solve(Problem.from_table(value, cost, budget, maximise=True, at_least=at_least))
    if best == -math.inf:
        assert solution.status is Status.INFEASIBLE
    else:
        assert solution.status is Status.OPTIMAL
        assert -solution.value == best


def test_minima_are_resources_behind_the_others() -> None:
    problem = Problem.from_table(
        [[1.0, 2.0], [3.0, 4.0]], [[[1, 5], [2, 9]], [[0, 1], [1, 0]]], [20, 3], at_least=[6, 0]
    )
    assert problem.cost.tolist() == [[1, 5, 2, 9], [0, 1, 1, 0], [4, 0, 7, 0]]
    assert problem.budget.tolist() == [20, 3, 14 - 6]
    assert Problem.from_table([[1.0]], [[3]], 4, at_least=0).n_resources == 1


def test_a_zero_keeps_its_sign() -> None:
    value = Problem.from_table([[0.0, 2.0]], [[3, 4]], 4, maximise=True).value
    assert np.copysign(1.0, value).tolist() == [1.0, -1.0]


def test_minima_are_one_for_each_resource() -> None:
    with pytest.raises(InvalidProblem, match="at_least has 2 entries for 1 resources: give one each"):
        Problem.from_table([[1.0]], [[3]], 4, at_least=[1, 2])
    with pytest.raises(InvalidProblem, match="at_least"):
        Problem.from_table([[1.0]], [[3]], 4, at_least=1.5)
