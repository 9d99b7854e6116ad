"""The whole front, against trying every selection and against solving point by point."""

from __future__ import annotations

import dataclasses
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mckp_quant.solvers import Front, InvalidProblem, Problem, Rows, front, solve
from mckp_quant.solvers.questions import pareto, states

from .. import oracle
from ..checks import tolerance
from ..drawn import FEASIBLE, VALUES, problems
from ..families import quantisation, strongly_correlated, subset_sum, zigzag

EXACT_SUMS = ("few", "dyadic", "zero")  # sums of these values have no rounding


def true_front(problem: Problem) -> dict[int, Fraction]:
    """Every nondominated cost with its exact value."""
    exact = oracle.exactly(problem)
    least: dict[oracle.Cost, int] = {}
    for one in oracle.feasible(problem):
        least[one.cost] = min(one.value, least.get(one.cost, one.value))
    return {cost[0]: Fraction(value, 1 << exact.shift) for cost, value in oracle.undominated(least).items()}


def is_sound(problem: Problem, found: Front) -> None:
    """Every point is the cost and value of a selection, and no point beats another."""
    assert found.cost.dtype == np.int64
    assert found.value.dtype == np.float64
    assert (np.diff(found.cost) > 0).all()
    assert (np.diff(found.value) < 0).all()
    for point in range(0, len(found), max(1, len(found) // 50)):
        position = problem.position(found.choice(point))
        assert sum(problem.cost[0, position].tolist()) == found.cost[point] <= problem.budget[0]
        assert abs(math.fsum(problem.value[position].tolist()) - found.value[point]) <= tolerance(problem)


def best_at(found: Front, cost: int) -> float:
    """The value of the front within a budget."""
    return float(found.value[np.searchsorted(found.cost, cost, side="right") - 1])


def scaled(problem: Problem, factor: float) -> Problem:
    return dataclasses.replace(problem, value=problem.value * factor)


@given(problem=problems(max_groups=6, max_choices=4))
@settings(max_examples=150)
def test_front_is_what_trying_every_selection_finds(problem: Problem) -> None:
    found = front(problem)
    is_sound(problem, found)
    truth = true_front(problem)
    assert (len(found) == 0) == (not truth)
    assert found.error == 0.0
    for cost, value in truth.items():
        assert best_at(found, cost) <= float(value) + tolerance(problem)
    if truth:
        assert found.cost[0] == min(truth)


@given(problem=problems(max_groups=6, max_choices=4, values=EXACT_SUMS))
@settings(max_examples=200)
def test_without_rounding_the_points_are_exactly_the_nondominated_ones(problem: Problem) -> None:
    found = front(problem)
    truth = true_front(problem)
    assert found.cost.tolist() == list(truth)
    assert found.value.tolist() == [float(value) for value in truth.values()]


@pytest.mark.parametrize(
    "problem",
    [
        quantisation(54, (2, 4, 8), share=0.9, seed=1),
        quantisation(20, (2, 3, 4, 5, 6, 7, 8), share=0.6, seed=2),
        scaled(quantisation(30, (2, 4, 8), share=1.0, seed=3), 1e-9),
        subset_sum(15, 5, seed=4),
        strongly_correlated(15, 5, seed=5),
        zigzag(15, 5, seed=6),
    ],
)
def test_every_point_is_the_optimum_under_its_cost(problem: Problem) -> None:
    found = front(problem)
    is_sound(problem, found)
    budgets = np.linspace(found.cost[0], problem.budget[0], 12).astype(np.int64).tolist()
    for budget in [*budgets, int(found.cost[len(found) // 2])]:
        optimum = solve(problem.with_budget([budget]))
        assert abs(best_at(found, budget) - optimum.value) <= 1e-12 * abs(optimum.value)


def test_merging_on_a_grid_and_by_sorting_gives_the_same_front(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(0)
    elements = np.append(4096 * rng.integers(1, 60, 12), 9409)
    value = rng.random((13, 4)) * elements[:, None] * 4.0 ** -np.array([2, 3, 4, 8])
    problem = Problem.from_table(value, elements[:, None] * np.array([2, 3, 4, 8]), 2**50)
    on_grid = front(problem)
    monkeypatch.setattr("mckp_quant.solvers.questions.states._CELLS_PER_STATE", 0)
    by_sorting = front(problem)
    monkeypatch.setattr("mckp_quant.solvers.questions.states._CELLS_PER_STATE", 10**6)
    always_on_grid = front(problem)
    assert on_grid.cost.tolist() == by_sorting.cost.tolist() == always_on_grid.cost.tolist()
    assert on_grid.value.tolist() == by_sorting.value.tolist() == always_on_grid.value.tolist()
    assert all((on_grid.choice(i) == by_sorting.choice(i)).all() for i in range(0, len(on_grid), 7))


def covers(thinned: Front, exact: Front) -> bool:
    """Whether the stated error of a thinned front is true of every point of the exact one."""
    at = np.searchsorted(thinned.cost, exact.cost, side="right") - 1
    assert at.min() >= 0
    regret = exact.value - exact.floor
    slip = 1e-12 * np.abs(exact.value)
    return bool((thinned.value[at] - thinned.floor <= (1 + thinned.error) * (regret + slip) + slip).all())


@given(
    problem=problems(max_groups=6, max_choices=4, budgets=FEASIBLE),
    max_points=st.none() | st.integers(2, 12),
    epsilon=st.none() | st.sampled_from([1e-6, 0.01, 0.3, 5.0]),
)
@settings(max_examples=150)
def test_thinned_front_is_sound_and_its_error_is_true(
    problem: Problem, max_points: int | None, epsilon: float | None
) -> None:
    exact, thinned = front(problem), front(problem, max_points=max_points, epsilon=epsilon)
    is_sound(problem, thinned)
    assert covers(thinned, exact)
    assert max_points is None or len(thinned) <= max_points
    if max_points is None:
        assert thinned.error <= (epsilon or 0.0) * (1 + 1e-9)


@pytest.mark.parametrize(("max_points", "epsilon"), [(30, None), (300, None), (None, 0.09), (100, 0.09)])
def test_thinning_is_worth_its_error(max_points: int | None, epsilon: float | None) -> None:
    problem = quantisation(40, (2, 3, 4, 8), share=1.0, seed=7)
    exact, thinned = front(problem), front(problem, max_points=max_points, epsilon=epsilon)
    assert len(thinned) < len(exact) / 2
    assert 0 < thinned.error < 30 / (max_points or 300)
    assert covers(thinned, exact)


@given(problem=problems(max_groups=5, max_choices=4, budgets=FEASIBLE, values=VALUES[:5]), power=st.integers(-40, 40))
@settings(max_examples=50)
def test_scale_of_values_and_unit_of_cost_change_nothing_else(problem: Problem, power: int) -> None:
    first = front(problem)
    second = front(dataclasses.replace(problem, value=np.ldexp(problem.value, power)))
    assert first.cost.tolist() == second.cost.tolist()
    assert np.ldexp(first.value, power).tolist() == second.value.tolist()
    if problem.cost.max() < 2**50:
        wider = [min(int(problem.budget[0]) * 3, 2**63 - 1)]
        thrice = front(dataclasses.replace(problem, cost=problem.cost * 3, budget=np.array(wider)))
        assert thrice.cost.tolist() == (first.cost * 3).tolist()


def test_another_budget_that_cannot_bind_is_no_obstacle() -> None:
    one = quantisation(8, (2, 4, 8), share=0.7, seed=8)
    work = np.arange(one.n_choices)
    both = dataclasses.replace(
        one, cost=np.array([work, one.cost[0]]), budget=np.array([int(work[one.start[1:] - 1].sum()), one.budget[0]])
    )
    assert front(both, resource=1).cost.tolist() == front(one).cost.tolist()
    with pytest.raises(InvalidProblem, match=r"budget\[0\] = \d+ may bind beside resource 1.*raise that budget to \d+"):
        front(both.with_budget(both.budget - [1, 0]), resource=1)


def test_points_that_are_not_there_are_refused() -> None:
    found = front(quantisation(5, (2, 4), share=0.5, seed=9))
    assert found.choice(-1).tolist() == found.choice(len(found) - 1).tolist()
    for point in (len(found), -len(found) - 1):
        with pytest.raises(IndexError, match=f"point {point} of a front of {len(found)} points"):
            found.choice(point)


def test_repr_is_short() -> None:
    assert "_stages" not in repr(front(quantisation(5, (2, 4), share=0.5, seed=9)))


def test_arguments_without_sense_are_refused() -> None:
    problem = quantisation(5, (2, 4), share=0.5, seed=9)
    with pytest.raises(InvalidProblem, match="resource is 1: the problem has the resources 0 to 0"):
        front(problem, resource=1)
    with pytest.raises(InvalidProblem, match="max_points is 1: it must be a whole number, at least 2"):
        front(problem, max_points=1)
    for epsilon in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(InvalidProblem, match=r"epsilon is .*: it must be a number above 0 \(None gives"):
            front(problem, epsilon=epsilon)


def test_further_rows_are_refused() -> None:
    problem = quantisation(5, (2, 4), share=0.5, seed=9)
    one = np.ones(1, dtype=np.int64)
    row = Rows(np.array([0, 1]), 0 * one, one, 0 * one, one)
    with pytest.raises(InvalidProblem, match="a front takes no further rows"):
        front(dataclasses.replace(problem, rows=row))


def test_front_too_long_to_keep_is_refused_and_can_be_thinned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pareto, "_MOST_STATES", 5000)
    problem = quantisation(30, (2, 4, 8), share=1.0, seed=3)
    with pytest.raises(InvalidProblem, match=r"points after \d+ of 30 groups, too many to keep: give max_points"):
        front(problem)
    assert len(front(problem, max_points=20)) <= 20
    with pytest.raises(InvalidProblem, match="too many to keep: give a smaller max_points"):
        front(problem, max_points=1000)


def test_front_without_time_is_short_and_says_what_that_took() -> None:
    problem = quantisation(12, tuple(range(1, 9)), share=0.8, seed=1)
    whole, late = front(problem), front(problem, seconds=1e-9)
    is_sound(problem, late)
    assert whole.error == 0.0
    assert late.error > 0
    assert len(late) < len(whole)
    for cost, value in zip(whole.cost.tolist(), whole.value.tolist(), strict=True):
        best = late.value[np.searchsorted(late.cost, cost, side="right") - 1]
        assert best - late.floor <= (1 + late.error) * (value - late.floor) + tolerance(problem)


def test_interrupted_front_ends_with_short_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = quantisation(12, tuple(range(1, 9)), share=0.8, seed=1)
    merge, calls = states.merge, []

    def interrupted(*arguments: object, **named: object) -> object:
        calls.append(1)
        if len(calls) == 9:
            raise KeyboardInterrupt
        return merge(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(pareto, "merge", interrupted)
    found = front(problem)
    is_sound(problem, found)
    assert found.error > 0
    monkeypatch.setattr(pareto, "_END_WITHIN", -1.0)
    calls.clear()
    with pytest.raises(KeyboardInterrupt):
        front(problem)
