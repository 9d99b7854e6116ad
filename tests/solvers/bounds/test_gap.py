"""Gaps are counted from a reference: constants enter neither them nor what counts as rounding."""

from __future__ import annotations

import dataclasses
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mckp_quant.solvers import Answer, Problem, Status, front, k_best, least_cost, solve
from mckp_quant.solvers.bounds.gap import difference, dual_gap, same_to_rounding, whole_unit
from mckp_quant.solvers.bounds.lagrangian import farkas_excess, lagrangian_bound
from mckp_quant.solvers.bounds.normal_form import normalise
from mckp_quant.solvers.certify import certificate_of

from .. import oracle
from ..drawn import problems

CONSTANT = 10.0**12


def shifted(trial: int) -> tuple[Problem, Problem]:
    rng = np.random.default_rng([3, trial])
    cost = np.sort(rng.integers(1, 1000, (20, 4)), axis=1)
    value = 10.0 - np.sort(rng.integers(0, 10, (20, 4)), axis=1)
    limit = int(cost.mean() * 20)
    return Problem.from_table(value, cost, limit), Problem.from_table(value + CONSTANT, cost, limit)


@pytest.mark.parametrize("solver", ["greedy", "relax", "exact", "cp_sat", "highs", "pulp"])
def test_constants_make_no_wrong_selection_optimal(solver: str) -> None:
    for trial in range(8):
        plain, large = shifted(trial)
        found = solve(large, solver)
        assert found.certificate.holds(large)
        assert found.status is not Status.OPTIMAL or found.value == solve(plain).value + 20 * CONSTANT
        assert found.certificate.tolerance < 0.5


def test_questions_do_not_mind_constants() -> None:
    plain, large = shifted(0)
    best = solve(plain).value
    ranked = [each.value - 20 * CONSTANT for each in k_best(large, 5)]
    assert ranked == [each.value for each in k_best(plain, 5)]
    assert all(each.certificate.holds(large) for each in k_best(large, 5))
    assert (front(large).value - 20 * CONSTANT).tolist() == front(plain).value.tolist()
    assert least_cost(large, best + 1 + 20 * CONSTANT).cost == least_cost(plain, best + 1).cost


def test_forged_value_one_unit_off_does_not_hold_beside_constants() -> None:
    _, large = shifted(1)
    own = solve(large, "exact").certificate
    worse = dataclasses.replace(own, value=own.bound + 1, ground="dual gap closed", tolerance=math.inf)
    assert not worse.holds(large)


def test_fixed_group_leaves_the_normal_form() -> None:
    problem = Problem.from_table([[1e12, math.nan], [3.0, 4.0], [0.1, 1e9]], [[0, 0], [0, 1], [0, 1]], 1)
    normal = normalise(problem)
    assert normal.problem.value.tolist() == [0.0, 0.0, 1.0, 0.1, 1e9]
    assert normal.base == 1e12 + 3


@given(problem=problems(max_budgets=3, budgets=("between", "hit", "most")), seed=st.integers(0, 2**16))
@settings(max_examples=150)
def test_gap_is_never_below_the_exact_one(problem: Problem, seed: int) -> None:
    rng = np.random.default_rng(seed)
    price = rng.random(problem.n_resources) * 10.0 ** rng.integers(-9, 3)
    best = oracle.feasible(problem)
    for one in best[:1]:
        choice = problem.start[:-1] + np.array(one.choice)
        gap = dual_gap(problem, choice, price)
        exact = oracle.exactly(problem)
        true = Fraction(one.value, 2**exact.shift) - oracle.dual(problem, price)
        assert Fraction(math.nextafter(gap.size, math.inf)) >= true
        assert gap.tolerance <= same_to_rounding(problem)


def test_whole_unit_is_that_of_the_differences() -> None:
    assert whole_unit(Problem.from_table([[1e12 + 6, 1e12 + 12], [0.5, 3.5]], [[0, 1], [0, 1]], 1)) == 3.0
    assert whole_unit(Problem.from_table([[0.1, 1e12]], [[1, 0]], 1)) == 0.0
    assert whole_unit(Problem.from_table([[2.0**53, -0.3]], [[0, 1]], 1)) == 0.0


def test_gap_below_the_unit_is_closed_and_one_of_a_unit_is_open() -> None:
    problem = Problem.from_table([[2.0, 0.0], [1.0, 0.0]], [[0, 10**13], [0, 10**13]], 10**13)
    best, worse = np.array([1, 2]), np.array([0, 3])
    price = np.array([1e-13])
    assert dual_gap(problem, best, price).closed
    assert not dual_gap(problem, worse, price).closed
    unit = 2.0**-52
    tiny = dataclasses.replace(problem, value=problem.value * unit)
    assert same_to_rounding(tiny) < unit
    assert dual_gap(tiny, best, price * unit).closed
    assert not dual_gap(tiny, worse, price * unit).closed


def test_bound_of_a_sum_that_needs_no_rounding_is_the_sum() -> None:
    problem = Problem.from_table([[0.0, 1.0], [0.5, 2.0]], [[1, 0], [1, 0]], 2)
    assert lagrangian_bound(problem, np.zeros(1)) == 0.5
    nothing = dataclasses.replace(problem, value=np.array([0.0, 1.0, 0.0, 2.0]))
    assert lagrangian_bound(nothing, np.zeros(1)) == 0.0
    assert solve(nothing, "greedy").status is Status.OPTIMAL
    rounded = dataclasses.replace(problem, value=np.array([0.1, 1.0, 0.7, 2.0]))
    assert Fraction(lagrangian_bound(rounded, np.zeros(1))) <= Fraction(0.1) + Fraction(0.7)


def test_near_ties_are_compared_in_rational_numbers() -> None:
    rng = np.random.default_rng(5)
    for _ in range(50):
        cost = np.sort(rng.integers(0, 10**6, (4, 3)), axis=1)
        price = rng.random(1)
        value = 3.0 - price[0] * cost  # all tied at this price, to rounding
        problem = Problem.from_table(value, cost, int(cost.sum(axis=0)[1]))
        bound = lagrangian_bound(problem, price)
        dual = oracle.dual(problem, price)
        assert Fraction(bound) <= dual
        assert dual - Fraction(bound) <= 2 * Fraction(math.ulp(bound))


def test_difference_is_rounded_once() -> None:
    problem = Problem.from_table([[1e16, 1e16], [0.1, 0.4]], [[0, 1], [0, 1]], 2)
    assert difference(problem, np.array([0, 2]), np.array([1, 3])) == pytest.approx(0.3)


FARKAS = Problem(
    value=np.zeros(11),
    cost=np.array(
        [
            [5, 5, 2, 5, 1, 2, 0, 5, 2, 2, 2],
            [2470, 2470, 1428, 2142, 2856, 1428, 1978, 4672, 1272, 1272, 3532],
        ]
    ),
    budget=np.array([15, 15628]),
    start=np.array([0, 2, 6, 7, 8, 10, 11]),
    label=np.array([2, 0, 0, -1, 10, 2, 1, 0, 2, 0, -1]),
)


@pytest.mark.parametrize("price", [[1.0, 1e300], [1e-300, 1.0], [1e-300, 1e300], [5e-324, 1.7e308]])
def test_prices_300_decades_apart_are_rechecked_exactly(price: list[float]) -> None:
    found = solve(FARKAS)
    assert found.status is Status.INFEASIBLE
    forged = dataclasses.replace(found.certificate, price=np.array(price), bound=math.inf, ground="none")
    assert not forged.holds(FARKAS)
    assert farkas_excess(FARKAS, np.array(price)) < 0


@pytest.mark.parametrize("scale", [1.0, 1e-150, 1e290, 1e-300])
def test_sign_of_a_farkas_price_is_exact(scale: float) -> None:
    problem = Problem.from_table(np.zeros((2, 2)), [[[4, 0], [4, 0]], [[0, 4], [0, 4]]], [3, 3])
    price = np.array([1.0, 1.0]) * scale
    assert farkas_excess(problem, price) > 0
    assert farkas_excess(problem.with_budget([4, 4]), price) <= 0


def test_farkas_price_that_overflows_beside_too_many_choices_proves_nothing() -> None:
    cost = np.tile([[[4, 0]], [[0, 4]]], (1, 11_000, 1))
    problem = Problem.from_table(np.zeros((11_000, 2)), cost, [1, 1])
    assert farkas_excess(problem, np.array([1.0, 1e300])) == -math.inf
    assert farkas_excess(problem, np.array([1.0, 1.0])) > 0


def test_certificate_states_no_bound_above_its_value() -> None:
    problem = Problem.from_table([[0.1, 0.2], [0.3, 0.7]], [[1, 0], [1, 0]], 2)
    certificate = certificate_of(problem, Answer(np.array([0, 2])), "none", witness=False)
    assert certificate.bound <= certificate.value
    assert certificate.holds(problem)
