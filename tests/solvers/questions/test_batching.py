"""Many problems in one call: each answer is that of `solve`, with one thread or several."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mckp_quant.solvers import Greedy, InvalidProblem, Problem, solve, solve_many

from ..drawn import FEASIBLE, problems
from ..families import quantisation


@given(st.lists(problems(budgets=FEASIBLE), max_size=4), st.sampled_from([1, 3]))
def test_answers_are_those_of_single_solves(each: list[Problem], threads: int) -> None:
    for problem, solution in zip(each, solve_many(each, threads=threads), strict=True):
        alone = solve(problem)
        np.testing.assert_array_equal(solution.choice, alone.choice)
        assert (solution.value, solution.status, solution.bound) == (alone.value, alone.status, alone.bound)
        assert solution.certificate.holds(problem)


@pytest.mark.parametrize("threads", [1, 2])
def test_one_problem_under_many_budgets(threads: int) -> None:
    problem = quantisation(20, (2, 3, 4, 8), share=0.5, seed=1)
    least = problem.least_cost[0]
    budgets = np.linspace(least - 1, 2 * least, 9).astype(np.int64)
    told: list[tuple[int, int]] = []
    found = solve_many(problem, budgets, threads=threads, progress=lambda done, total: told.append((done, total)))
    assert told == [(done, 9) for done in range(1, 10)]
    assert [each.budget for each in found] == [(budget,) for budget in budgets.tolist()]
    assert found[0].choice is None
    for budget, each in zip(budgets[1:], found[1:], strict=True):
        np.testing.assert_array_equal(each.choice, solve(problem.with_budget(budget)).choice)


def test_solver_seed_and_warm_start_are_those_given() -> None:
    problem = quantisation(6, (2, 8), share=0.5, seed=1)
    labels = solve(problem).choice
    (found,) = solve_many(problem, solver=Greedy(), seed=3, warm=labels)
    assert (found.solver, found.seed) == (repr(Greedy()), 3)
    assert found.value == solve(problem).value  # a warm start is never lost, even by a plain baseline
    assert solve_many([]) == []


def test_what_makes_no_sense_is_refused() -> None:
    problem = quantisation(3, (2, 8), share=0.5, seed=1)
    with pytest.raises(
        InvalidProblem, match=r"budgets stand beside 2 problems: give one problem, or problems that have"
    ):
        solve_many([problem, problem], [1, 2])
    with pytest.raises(InvalidProblem, match=r"budgets has 2 columns for 1 resources: give one each"):
        solve_many(problem, [[1, 2]])
    with pytest.raises(InvalidProblem, match=r"budgets\[1, 0\] is 1.5: it must be a whole number"):
        solve_many(problem, [1, 1.5])
    with pytest.raises(InvalidProblem, match=r"threads is 0: it must be a whole number, at least 1"):
        solve_many(problem, threads=0)


@pytest.mark.parametrize("threads", [1, 2])
def test_an_error_of_one_solve_is_that_of_the_call(threads: int) -> None:
    problem = quantisation(3, (2, 8), share=0.5, seed=1)
    with pytest.raises(InvalidProblem, match=r"the selection has 2 entries for 3 groups"):
        solve_many([problem] * 3, warm=[0, 0], threads=threads)
