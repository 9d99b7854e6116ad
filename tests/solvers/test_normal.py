from __future__ import annotations

import math

import numpy as np
import pytest

from mckp_quant.solvers import Problem, Status, solve
from mckp_quant.solvers.normal import normalise

from . import oracle
from .checks import COMPLETE


def drawn(seed: int) -> tuple[np.ndarray, np.ndarray, int]:
    rng = np.random.default_rng(seed)
    value = rng.normal(size=(6, 4))
    cost = rng.integers(0, 4, size=(6, 4))
    least, most = int(cost.min(axis=1).sum()), int(cost.max(axis=1).sum())
    return value, cost, int(rng.integers(least, most + 1))


@pytest.mark.parametrize("solver", COMPLETE)
@pytest.mark.parametrize("seed", range(6))
def test_a_cost_common_to_all_choices_of_a_group_is_irrelevant(solver: str, seed: int) -> None:
    value, cost, budget = drawn(seed)
    common = 2**55
    plain = solve(Problem.from_table(value, cost, budget), solver)
    raised = solve(Problem.from_table(value, cost + common, budget + 6 * common), solver)
    assert plain.status is raised.status is Status.OPTIMAL
    assert raised.value == pytest.approx(plain.value, rel=1e-12)


@pytest.mark.parametrize("solver", COMPLETE)
@pytest.mark.parametrize("seed", range(6))
def test_a_choice_that_can_never_fit_is_irrelevant(solver: str, seed: int) -> None:
    value, cost, budget = drawn(seed)
    tempting = np.full((6, 1), np.nan)
    tempting[0] = -1e13
    wide = Problem.from_table(
        np.hstack([value, tempting]), np.hstack([cost, np.full((6, 1), 10 * budget + 100)]), budget
    )
    plain = solve(Problem.from_table(value, cost, budget), solver)
    found = solve(wide, solver)
    assert found.status is Status.OPTIMAL
    assert found.value == pytest.approx(plain.value, rel=1e-12)
    assert found.certificate.tolerance == pytest.approx(plain.certificate.tolerance, rel=1e-6)
    assert found.certificate.holds(wide)


@pytest.mark.parametrize("scale", [1e-300, 1e290])
@pytest.mark.parametrize("solver", COMPLETE)
def test_values_near_the_ends_of_float64_are_solved(solver: str, scale: float) -> None:
    value, cost, budget = drawn(1)
    problem = Problem.from_table(value * scale, cost, budget)
    best = oracle.optimum(problem)
    assert best is not None
    assert math.isclose(solve(problem, solver).value, best, rel_tol=1e-12)


def test_normal_problem_counts_from_the_least() -> None:
    problem = Problem.from_table([[1.0, 2.0], [-9.0, 3.0]], [[7, 9], [90, 5]], 20)
    normal = normalise(problem)
    assert normal.exponent == 0
    assert normal.problem.cost.tolist() == [[0, 2, 85, 0]]
    assert normal.problem.budget.tolist() == [8]
    assert normal.problem.value.tolist() == [1.0, 2.0, 3.0, 3.0]
    assert problem.value.tolist() == [1.0, 2.0, -9.0, 3.0]
