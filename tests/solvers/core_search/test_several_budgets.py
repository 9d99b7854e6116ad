"""Where one of several budgets alone has a price, the search under that one decides, unless another one objects."""

from __future__ import annotations

import numpy as np
import pytest

from mckp_quant.solvers import Exact, Problem, Status, solve

from ..checks import verified


def drawn(seed: int, second: float) -> Problem:
    """Two budgets; `second` is where the other one lies between the cheapest and the dearest selection."""
    rng = np.random.default_rng(seed)
    cost = rng.integers(1, 1000, (2, 6, 5))
    value = -(cost[0] + rng.integers(0, 200, (6, 5)))
    least, most = cost.min(axis=2).sum(axis=1), cost.max(axis=2).sum(axis=1)
    budget = least + (np.array([0.4, second]) * (most - least)).astype(np.int64)
    return Problem.from_table(value.astype(float), cost, budget)


@pytest.mark.parametrize("second", [0.5, 0.6, 0.7, 0.9])
def test_answers_are_those_of_brute_force(second: float) -> None:
    for seed in range(25):
        problem = drawn(seed, second)
        solution = verified(problem, solve(problem, "exact"))
        assert solution.status is Status.OPTIMAL
        assert solution.value == solve(problem, "enumerate").value


def test_budget_that_never_binds_costs_no_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    def lists(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr("mckp_quant.solvers.core_search.several_budgets.search_lists", lists)
    monkeypatch.setattr("mckp_quant.solvers.core_search.several_budgets.search_halves", lists)
    for seed in range(10):
        problem = drawn(seed, 1.0)
        assert verified(problem, solve(problem, Exact())).status is Status.OPTIMAL


@pytest.mark.parametrize("useless", [0, 1])
def test_group_of_which_nothing_is_of_use_under_one_budget_is_left_out(useless: int) -> None:
    """Its other choice costs more of the first budget, saves some of the second one, and is no better."""
    cost = np.array([[[0, 3, 5], [0, 3, 5]], [[1, 1, 1], [1, 1, 1]]])
    value = np.array([[9.0, 4.0, 1.0], [9.0, 4.0, 1.0]])
    cost[:, useless] = [[1, 2, 2], [2, 1, 0]]
    value[useless] = [3.0, 3.25, 3.5]
    for limit in range(2, 9):
        for second in range(1, 4):
            problem = Problem.from_table(value, cost, [limit, second])
            solution = verified(problem, solve(problem, "exact"))
            assert solution.value == solve(problem, "enumerate").value
