"""What must not change when a problem is written down differently."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mckp_quant.solvers import Problem, Solution, Status, solve

from . import oracle
from .checks import COMPLETE, SOLVERS, here, positions, solved, solved_or_refused, tolerance
from .drawn import FEASIBLE, problems
from .families import quantisation

if TYPE_CHECKING:
    from numpy.typing import NDArray

every_complete = pytest.mark.parametrize("solver", COMPLETE)
SMALL = problems(max_budgets=2, max_groups=5, max_choices=3)
FEASIBLE_SMALL = problems(max_groups=5, max_choices=3, budgets=FEASIBLE)


def margin(problem: Problem) -> float | None:
    """By how much the best selection is ahead of the runner-up; None where it has none, 0 where it ties."""
    ranked = oracle.feasible(problem)
    if len(ranked) < 2:
        return None
    return float(Fraction(ranked[1].value - ranked[0].value, 1 << oracle.exactly(problem).shift))


def is_unique(problem: Problem, share: float = 0.0) -> bool:
    """Whether the optimum is ahead of the runner-up by more than solvers may ignore, or a share of the values."""
    lead = margin(problem)
    return lead is None or lead > max(2 * tolerance(problem), share * 1e12 * tolerance(problem))


def reordered(problem: Problem, order: NDArray[np.int64]) -> Problem:
    """The same choices in another order of the flat arrays, which keeps groups together."""
    group = problem.group[order]
    start = np.flatnonzero(np.diff(group, prepend=-1, append=-1))
    return Problem(problem.value[order], problem.cost[:, order], problem.budget, start, problem.label[order])


def same_outcome(problem: Problem, first: Solution, second: Solution) -> None:
    assert first.status is second.status
    if first.choice is not None:
        assert abs(first.value - second.value) <= tolerance(problem)


@every_complete
@given(problem=SMALL, draw=st.data())
@settings(max_examples=20)
def test_order_of_groups_is_irrelevant(solver: str, problem: Problem, draw: st.DataObject) -> None:
    here(solver)
    groups = draw.draw(st.permutations(range(problem.n_groups)))
    order = np.concatenate([np.arange(problem.start[g], problem.start[g + 1]) for g in groups])
    first, second = solved_or_refused(problem, solver), solved_or_refused(reordered(problem, order), solver)
    if first is None or second is None:
        assert first is second
        return
    same_outcome(problem, first, second)
    if first.choice is not None and second.choice is not None and is_unique(problem):
        assert first.choice[list(groups)].tolist() == second.choice.tolist()


@every_complete
@given(problem=SMALL, draw=st.data())
@settings(max_examples=20)
def test_order_of_choices_is_irrelevant(solver: str, problem: Problem, draw: st.DataObject) -> None:
    here(solver)
    ends = zip(problem.start.tolist(), problem.start.tolist()[1:], strict=False)
    order = np.concatenate([draw.draw(st.permutations(range(low, high))) for low, high in ends])
    first, second = solved_or_refused(problem, solver), solved_or_refused(reordered(problem, order), solver)
    if first is None or second is None:
        assert first is second
        return
    same_outcome(problem, first, second)
    if first.choice is not None and second.choice is not None and is_unique(problem):
        assert first.choice.tolist() == second.choice.tolist()


@every_complete
@given(problem=FEASIBLE_SMALL, group=st.integers(0, 4), shift=st.integers(-1000, 1000))
@settings(max_examples=20)
def test_constant_added_to_a_group_is_added_to_the_value(solver: str, problem: Problem, group: int, shift: int) -> None:
    here(solver)
    group %= problem.n_groups
    value = problem.value + shift * (problem.group == group)
    moved = dataclasses.replace(problem, value=value)
    first, second = solved(problem, solver), solved(moved, solver)
    assert first.status is second.status is Status.OPTIMAL
    assert abs(first.value + shift - second.value) <= tolerance(problem) + tolerance(moved) + 1e-15 * abs(shift)


@pytest.mark.parametrize("solver", SOLVERS)
@given(problem=problems(max_budgets=2, max_groups=5, max_choices=4), more=st.integers(1, 1000), at=st.integers(0, 1))
@settings(max_examples=25)
def test_larger_budget_is_never_worse(solver: str, problem: Problem, more: int, at: int) -> None:
    here(solver)
    budget = [int(limit) for limit in problem.budget]
    at %= len(budget)
    spread = int(np.ptp(problem.cost[at]))
    budget[at] = min(budget[at] + 1 + spread * more // 1000, 2**63 - 1)
    first, second = solved_or_refused(problem, solver), solved_or_refused(problem.with_budget(budget), solver)
    if first is None or second is None:
        assert first is second
    elif solver in COMPLETE and first.choice is not None:
        assert second.status is Status.OPTIMAL
        assert second.value <= first.value + tolerance(problem)
        assert second.certificate.bound <= first.value


@every_complete
@given(
    problem=problems(max_budgets=2, max_groups=5, max_choices=3, costs=("few", "wide", "quantisation")),
    factor=st.sampled_from([2, 3, 1000, 10**9, 2**40]),
    rest=st.integers(0, 10**9),
)
@settings(max_examples=20)
def test_unit_of_cost_is_irrelevant(solver: str, problem: Problem, factor: int, rest: int) -> None:
    here(solver)
    assume(int(problem.budget.max()) < 2**62 // factor)
    budget = [int(limit) * factor + rest % factor for limit in problem.budget]
    scaled = dataclasses.replace(problem, cost=problem.cost * factor, budget=np.array(budget))
    first, second = solved_or_refused(problem, solver), solved_or_refused(scaled, solver)
    if first is None or second is None:
        assert first is second
        return
    same_outcome(problem, first, second)
    if first.choice is not None and second.choice is not None and is_unique(problem):
        assert first.choice.tolist() == second.choice.tolist()


@pytest.mark.parametrize("solver", SOLVERS)
@given(problem=problems(max_budgets=2, max_groups=5, max_choices=4), power=st.integers(-40, 40))
@settings(max_examples=25)
def test_powers_of_two_change_nothing_but_the_scale(solver: str, problem: Problem, power: int) -> None:
    here(solver)
    first = solved_or_refused(problem, solver)
    scaled = dataclasses.replace(problem, value=np.ldexp(problem.value, power))
    second = solved_or_refused(scaled, solver)
    if first is None or second is None:
        assert first is second
        return
    assert first.status is second.status
    assert repr(first.choice) == repr(second.choice)
    if first.choice is not None:
        assert second.value == np.ldexp(first.value, power)


@every_complete
@given(
    problem=problems(max_groups=5, max_choices=3, budgets=FEASIBLE), factor=st.sampled_from([1e-12, 1e12, 1e-9, 1e7])
)
@settings(max_examples=30)
def test_powers_of_ten_change_nothing_where_the_optimum_is_clear(solver: str, problem: Problem, factor: float) -> None:
    here(solver)
    assume(is_unique(problem, share=1e-9))
    scaled = dataclasses.replace(problem, value=problem.value * factor)
    first, second = solved(problem, solver), solved(scaled, solver)
    assert first.status is second.status is Status.OPTIMAL
    assert repr(first.choice) == repr(second.choice)


@pytest.mark.parametrize("solver", [name for name in COMPLETE if name != "enumerate"])
@pytest.mark.parametrize("optimum", [1.0, 1e-3, 1e-5, 1e-7, 1e-9, 1e-12, 1e12])
def test_small_losses_do_not_slip_through_tolerances(solver: str, optimum: float) -> None:
    here(solver)
    problem = quantisation(54, (2, 3, 4, 8), share=0.5, seed=11)
    natural = solved(problem, "exact")
    scaled = dataclasses.replace(problem, value=problem.value * (optimum / natural.value))
    solution = solved(scaled, solver)
    assert solution.status is Status.OPTIMAL
    assert solution.choice is not None
    assert natural.choice is not None
    assert solution.choice.tolist() == natural.choice.tolist()


@pytest.mark.parametrize("solver", COMPLETE)
@given(problem=FEASIBLE_SMALL)
@settings(max_examples=15)
def test_optimum_given_as_a_warm_start_stays_the_optimum(solver: str, problem: Problem) -> None:
    here(solver)
    cold = solved(problem, solver)
    warm = solve(problem, solver, warm=cold.choice)
    assert warm.status is Status.OPTIMAL
    assert warm.value == cold.value
    assert positions(problem, warm)
