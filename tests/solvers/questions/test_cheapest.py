"""The dual question, against trying every selection and against the front."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mckp_quant.solvers import InvalidProblem, LeastCost, NoSolution, Problem, Status, front, least_cost, solve

from .. import oracle
from ..checks import tolerance, verified
from ..drawn import FEASIBLE, problems
from ..families import quantisation


def cheapest(problem: Problem, resource: int, limit: float) -> int | None:
    """The least cost of a selection within the other budgets whose value is at most the limit."""
    exact = oracle.exactly(problem)
    others = [each for each in range(problem.n_resources) if each != resource]
    return min(
        (
            one.cost[resource]
            for one in oracle.selections(problem)
            if exact.number(one.value) <= limit and all(one.cost[each] <= exact.budget[each] for each in others)
        ),
        default=None,
    )


def is_proved(problem: Problem, found: LeastCost) -> None:
    budget = problem.budget.tolist()
    budget[found.resource] = found.cost
    verified(problem.with_budget(budget), found.solution)
    assert found.solution.cost[found.resource] == found.cost
    assert found.solution.value <= found.max_value
    assert found.below.budget[found.resource] == found.cost - 1
    assert found.below.status in (Status.OPTIMAL, Status.INFEASIBLE)
    assert found.proved


@given(
    problem=problems(max_budgets=2, max_groups=5, max_choices=3, budgets=FEASIBLE),
    resource=st.integers(0, 1),
    share=st.floats(0, 1),
)
@settings(max_examples=120)
def test_least_cost_is_what_trying_every_selection_finds(problem: Problem, resource: int, share: float) -> None:
    resource %= problem.n_resources
    exact = oracle.exactly(problem)
    every = sorted(exact.number(one.value) for one in oracle.selections(problem))
    limit = every[int(share * (len(every) - 1))]
    loose, tight = (cheapest(problem, resource, limit + sign * tolerance(problem)) for sign in (1, -1))
    try:
        found = least_cost(problem, limit, resource=resource)
    except NoSolution:
        assert tight is None
        return
    is_proved(problem, found)
    assert loose is not None
    assert loose <= found.cost
    assert tight is None or found.cost <= tight


@pytest.mark.parametrize("scale", [1.0, 1e-9])
def test_least_cost_is_the_first_point_of_the_front_within_the_limit(scale: float) -> None:
    drawn = quantisation(30, (2, 3, 4, 8), share=1.0, seed=3)
    problem = Problem(drawn.value * scale, drawn.cost, drawn.budget, drawn.start, drawn.label)
    points = front(problem)
    for point in range(0, len(points), len(points) // 5):
        limit = float(points.value[point]) * (1 + 1e-9)
        found = least_cost(problem, limit)
        is_proved(problem, found)
        assert found.cost == points.cost[point]
        assert found.solves < 60


def test_budget_of_the_resource_is_lifted_and_the_others_hold() -> None:
    problem = Problem.from_table([[4.0, 1.0], [4.0, 1.0]], [[[1, 5], [1, 6]], [[0, 3], [0, 3]]], [2, 3])
    found = least_cost(problem, 5.0)
    assert (found.cost, found.solution.cost) == (6, (6, 3))
    with pytest.raises(NoSolution, match=r"no selection has a value of at most 4\.0: the least is 5\.0"):
        least_cost(problem, 4.0)
    with pytest.raises(NoSolution, match=r"no value of it works while the others stay"):
        least_cost(problem.with_budget([2, -1]), 8.0)


def test_cheapest_selection_is_found_when_every_value_will_do() -> None:
    problem = quantisation(10, (2, 4, 8), share=0.5, seed=4)
    found = least_cost(problem, float(np.maximum.reduceat(problem.value, problem.start[:-1]).sum()) * 2)
    assert found.cost == problem.least_cost[0]
    assert found.below.status is Status.INFEASIBLE
    is_proved(problem, found)


def test_solver_that_proves_nothing_leaves_it_unproved() -> None:
    problem = quantisation(30, (2, 3, 4, 8), share=0.5, seed=3)
    limit = solve(problem).value
    exact, found = least_cost(problem, limit), least_cost(problem, limit, solver="greedy")
    assert exact.proved
    assert found.solution.value <= limit
    assert found.cost > exact.cost
    assert not found.proved


def test_solver_that_never_reaches_the_limit_says_how_far_it_came() -> None:
    value, cost = np.array([[3.0, 2.0, 0.0]] * 3), np.array([[[0, 5, 9]] * 3, [[0, 5, 9]] * 3])
    problem = Problem.from_table(value, cost, [27, 14])
    best = solve(problem.with_budget([27, 14])).value
    greedy = solve(problem, "greedy")
    assert greedy.value > best
    with pytest.raises(NoSolution, match=r"was found: the best found has .* give it more seconds"):
        least_cost(problem, best, solver="greedy")


@pytest.mark.parametrize("limit", [math.nan, math.inf, -math.inf])
def test_limits_that_are_no_numbers_are_refused(limit: float) -> None:
    with pytest.raises(InvalidProblem, match=f"max_value is {limit}: it must be a finite number"):
        least_cost(quantisation(3, (2, 4), share=0.5, seed=1), limit)


def test_resource_that_does_not_exist_is_refused() -> None:
    with pytest.raises(InvalidProblem, match="max_value is 'a': it must be a finite number"):
        least_cost(quantisation(4, (2, 4), share=0.5, seed=0), "a")  # type: ignore[arg-type]
    with pytest.raises(InvalidProblem, match="seconds is 'a': give a number of seconds above 0"):
        least_cost(quantisation(4, (2, 4), share=0.5, seed=0), 1.0, seconds="a")  # type: ignore[arg-type]
    with pytest.raises(InvalidProblem, match=r"resource is 0\.5: the problem has the resources 0 to 0"):
        least_cost(quantisation(4, (2, 4), share=0.5, seed=0), 1.0, resource=0.5)  # type: ignore[arg-type]
    with pytest.raises(InvalidProblem, match="resource is -1: the problem has the resources 0 to 0"):
        least_cost(quantisation(3, (2, 4), share=0.5, seed=1), 1.0, resource=-1)


def test_time_that_is_up_leaves_a_cost_that_is_not_proved(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock jumps past the deadline once the first problem was solved."""
    rng = np.random.default_rng(0)
    cost = rng.integers(1, 10**6, (50, 5))
    problem = Problem.from_table(rng.random((50, 5)), cost, int(cost.max(axis=1).sum()))
    limit = solve(problem).value + 1.0
    whole = least_cost(problem, limit)
    ticks = iter([0.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(ticks, 1e6))
    cut = least_cost(problem, limit, seconds=5)
    assert cut.solves < whole.solves
    assert cut.cost > whole.cost
    assert cut.solution.value <= limit
    assert not cut.proved
    assert whole.proved
