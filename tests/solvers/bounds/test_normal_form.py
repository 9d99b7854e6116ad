from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mckp_quant.solvers import Problem, Status, solve
from mckp_quant.solvers.bounds.lagrangian import lagrangian_bound
from mckp_quant.solvers.bounds.normal_form import normalise

from .. import oracle
from ..checks import COMPLETE, here
from ..drawn import FEASIBLE, problems


def drawn(seed: int) -> tuple[np.ndarray, np.ndarray, int]:
    rng = np.random.default_rng(seed)
    value = rng.normal(size=(6, 4))
    cost = rng.integers(0, 4, size=(6, 4))
    least, most = int(cost.min(axis=1).sum()), int(cost.max(axis=1).sum())
    return value, cost, int(rng.integers(least, most + 1))


@pytest.mark.parametrize("solver", COMPLETE)
@pytest.mark.parametrize("seed", range(6))
def test_a_cost_common_to_all_choices_of_a_group_is_irrelevant(solver: str, seed: int) -> None:
    here(solver)
    value, cost, budget = drawn(seed)
    common = 2**55
    plain = solve(Problem.from_table(value, cost, budget), solver)
    raised = solve(Problem.from_table(value, cost + common, budget + 6 * common), solver)
    assert plain.status is raised.status is Status.OPTIMAL
    assert raised.value == pytest.approx(plain.value, rel=1e-12)


@pytest.mark.parametrize("solver", COMPLETE)
@pytest.mark.parametrize("seed", range(6))
def test_a_choice_that_can_never_fit_is_irrelevant(solver: str, seed: int) -> None:
    here(solver)
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


def test_what_scaling_cannot_tell_apart_is_in_the_tolerance() -> None:
    # The largest value sets the unit, and beside it both of the others are nothing.
    problem = Problem.from_table([[2.6e-264, 2.2e170, 2.3e-287]], [[[0, 0, 0]], [[0, 0, 9]]], [3, 9])
    found = solve(problem, warm=[0])
    best = oracle.optimum(problem)
    assert best is not None
    assert found.status is Status.OPTIMAL
    assert found.value - best <= found.certificate.tolerance


def test_normal_problem_counts_from_the_least() -> None:
    problem = Problem.from_table([[1.0, 2.0], [-9.0, 3.0]], [[7, 9], [90, 5]], 20)
    normal = normalise(problem)
    assert normal.exponent == 0
    assert normal.problem.cost.tolist() == [[0, 2, 85, 0]]
    assert normal.problem.budget.tolist() == [8]
    assert normal.problem.value.tolist() == [1.0, 2.0, 0.0, 0.0]  # -9 can never fit, and what is left is a constant
    assert normal.base == 3.0
    assert problem.value.tolist() == [1.0, 2.0, -9.0, 3.0]


@given(problem=problems(max_groups=5, max_budgets=2, budgets=FEASIBLE), thin=st.integers(1, 5))
@settings(max_examples=150)
def test_room_is_the_budget_above_the_least_costs_in_whole_multiples_of_what_can_be_spent(
    problem: Problem, thin: int
) -> None:
    fits = problem.cost.max() < 2**50
    problem = Problem(problem.value, problem.cost * (thin if fits else 1), problem.budget, problem.start, problem.label)
    spent = {one.cost for one in oracle.feasible(problem)}
    for resource, (room, least, limit) in enumerate(zip(problem.room, problem.least_cost, problem.budget, strict=True)):
        above = problem.above[resource].tolist()
        divisor = math.gcd(*above)
        assert room <= limit - least
        assert all(cost[resource] - least <= room for cost in spent)
        assert not divisor or (room % divisor == 0 and limit - least - room < divisor)


def test_bound_does_not_count_what_cannot_be_spent() -> None:
    value, cost = [[4.0, 1.0, 0.0], [8.0, 3.0, 0.0]], [[7, 14, 21], [0, 7, 28]]
    loose, tight = Problem.from_table(value, cost, 34), Problem.from_table(value, cost, 28)
    price = np.array([0.5])
    assert lagrangian_bound(loose, price) == lagrangian_bound(tight, price)
    assert lagrangian_bound(tight, price) <= oracle.dual(tight, price) == oracle.dual(loose, price)


def test_a_twin_forgets_what_was_derived_from_other_numbers() -> None:
    problem = Problem.from_table([[1.0, 2.0], [4.0, 3.0]], [[4, 2], [6, 8]], 13)
    assert (problem.room, problem.least_cost) == ((4,), (8,))
    other = problem.with_budget(11)
    assert (other.room, other.least_cost, other.above is problem.above) == ((2,), (8,), True)
    dearer = problem.equivalent(value=problem.value, cost=problem.cost * 2, budget=problem.budget)
    assert (dearer.room, dearer.least_cost) == ((-4,), (16,))
    assert dearer.above.tolist() == [[4, 0, 0, 4]]
