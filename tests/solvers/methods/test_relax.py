from __future__ import annotations

import dataclasses
import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from scipy.optimize import linprog

from mckp_quant.solvers import Greedy, Problem, Relax, Solution, Status, solve

from .. import oracle
from ..checks import solved, tolerance
from ..drawn import FEASIBLE, problems
from ..families import quantisation, strongly_correlated, subset_sum, zigzag


def linear_relaxation(problem: Problem) -> float | None:
    """Its least value, straight from the definition: shares of choices that add up to one in every group.

    Choices that exceed a budget even when every other group costs its least have no share.
    """
    least = np.minimum.reduceat(problem.cost, problem.start[:-1], axis=1)
    beside = least.sum(axis=1)[:, None] - least[:, problem.group]
    fits = (problem.cost + beside <= problem.budget[:, None]).all(axis=0)
    one = (problem.group == np.arange(problem.n_groups)[:, None]).astype(float)
    unit = np.maximum(problem.cost.max(axis=1), 1).astype(float)
    result = linprog(
        problem.value / (np.abs(problem.value).max() or 1.0),
        A_ub=problem.cost / unit[:, None],
        b_ub=problem.budget / unit,
        A_eq=one,
        b_eq=np.ones(problem.n_groups),
        bounds=[(0, float(each)) for each in fits],
    )
    if result.status != 0 or result.fun is None:
        return None
    return float(result.fun) * float(np.abs(problem.value).max() or 1.0)


MODERATE = problems(
    max_budgets=3,
    values=("few", "dyadic", "any", "quantisation", "correlated"),
    costs=("few", "wide", "quantisation"),
    budgets=FEASIBLE,
)


@given(problem=MODERATE)
@settings(max_examples=150)
def test_bound_is_the_value_of_the_linear_relaxation(problem: Problem) -> None:
    solution = solved(problem, "relax")
    relaxed = linear_relaxation(problem)
    if relaxed is not None and solution.choice is not None:
        size = float(np.abs(problem.value).max())
        assert solution.stats["relaxed_value"] == pytest.approx(solution.certificate.bound, rel=1e-15, abs=1e-300)
        assert solution.certificate.bound == pytest.approx(relaxed, rel=1e-6, abs=1e-6 * size)


@given(problem=MODERATE)
@settings(max_examples=150)
def test_no_more_groups_mix_than_there_are_budgets(problem: Problem) -> None:
    assert solved(problem, "relax").stats["fractional_groups"] <= problem.n_resources


@given(problem=problems(budgets=FEASIBLE))
@settings(max_examples=150)
def test_with_one_budget_value_and_optimum_lie_less_than_one_change_above_the_bound(problem: Problem) -> None:
    solution = solved(problem, Relax())
    best = oracle.optimum(problem)
    assert best is not None
    spread = np.maximum.reduceat(problem.value, problem.start[:-1]) - np.minimum.reduceat(
        problem.value, problem.start[:-1]
    )
    assert best <= solution.value <= solution.certificate.bound + float(spread.max()) + tolerance(problem) + 1e-300


def whole_steps(n: int, start: float = 9.0) -> Problem:
    """Every step costs one and saves less than the last one, so the relaxation is whole at every budget."""
    saved = np.sort(np.random.default_rng(3).random(3 * n))[::-1]
    steps = saved.reshape(3, n).T
    value = np.cumsum(np.concatenate([np.full((n, 1), start), -steps], axis=1), axis=1)
    return Problem.from_table(value, np.tile(np.arange(4), (n, 1)), 0)


def test_relaxation_that_is_whole_is_proved_optimal() -> None:
    problem = whole_steps(8)
    for budget in range(25):
        solution = solved(problem.with_budget(budget), "relax")
        assert solution.status is Status.OPTIMAL
        assert solution.certificate.ground == "dual gap closed"
        assert solution.stats["fractional_groups"] == 0
        assert solution.cost == (budget,)


@pytest.mark.parametrize("n", range(1, 6))
def test_values_that_add_up_exactly_are_proved_to_the_last_digit(n: int) -> None:
    # The first budget leaves a value of exactly 0, beside which no rounding is allowed for.
    problem = whole_steps(n, 0.0)
    problem = dataclasses.replace(problem, value=np.ldexp(np.rint(np.ldexp(problem.value / (3 * n), 52)), -52))
    for budget in range(3 * n + 1):
        assert solved(problem.with_budget(budget), "relax").status is Status.OPTIMAL


FAMILIES = {
    "quantisation": quantisation(60, (2, 3, 4, 5, 6, 8), share=0.4, seed=0),
    "two budgets": quantisation(60, (2, 3, 4, 8), share=0.5, seed=1, n_budgets=2),
    "three budgets": quantisation(60, (2, 3, 4, 8), share=0.4, seed=2, n_budgets=3),
    "strongly correlated": strongly_correlated(60, 6, seed=3),
    "subset sum": subset_sum(60, 6, seed=4),
    "zigzag": zigzag(60, 6, seed=5),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_rounding_loses_little_and_greedy_is_not_far_ahead(family: str) -> None:
    problem = FAMILIES[family]
    solution = solved(problem, "relax")
    ahead: Solution = solve(problem, Greedy())
    assert solution.relative_gap < 0.05
    assert solution.value - solution.bound <= 2 * (ahead.value - solution.bound) + tolerance(problem)


def test_clashing_budgets_leave_nothing_to_round_to() -> None:
    problem = Problem.from_table([[0.0, 0.0]], [[[2, 0]], [[0, 2]]], [1, 1])
    solution = solved(problem, "relax")
    assert solution.status is Status.UNKNOWN
    assert math.isnan(solution.value)


def test_best_rounding_of_two_groups_that_mix_is_found() -> None:
    # Both budgets run out half way through a group; only the rounding that takes group 0 and leaves 1 is within both
    # and best: nearest rounding would exceed one of them.
    value = [[10.0, 0.0], [9.0, 0.0], [1.0, 0.0]]
    cost = [[[0, 4], [0, 3], [0, 1]], [[0, 3], [0, 4], [0, 1]]]
    problem = Problem.from_table(value, cost, [5, 5])
    solution = solved(problem, "relax")
    assert solution.value == oracle.optimum(problem) == 9.0


@pytest.mark.parametrize("n_budgets", [1, 2, 3])
def test_unit_of_the_values_is_irrelevant(n_budgets: int) -> None:
    problem = quantisation(40, (2, 4, 8), share=0.5, seed=7, n_budgets=n_budgets)
    natural = solved(problem, "relax")
    for factor in (2.0**-60, 2.0**60):
        scaled = solved(dataclasses.replace(problem, value=problem.value * factor), "relax")
        assert scaled.choice is not None
        assert natural.choice is not None
        assert scaled.choice.tolist() == natural.choice.tolist()


def test_repair_is_told_when_the_time_is_up() -> None:
    problem = quantisation(50, (2, 4, 8), share=0.3, seed=0, n_budgets=2)
    calls: list[float] = []

    def late(*_: object, deadline: float, **__: object) -> None:
        calls.append(deadline)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mckp_quant.solvers.methods.relax.repair", late)
        began = time.perf_counter()
        solution = solve(problem, "relax", seconds=0.1)
    assert calls[0] - began < 1.0
    assert solution.status is Status.UNKNOWN
    assert solution.certificate.holds(problem)
