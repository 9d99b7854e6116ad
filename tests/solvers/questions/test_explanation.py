"""Explanations, number by number against trying every selection."""

from __future__ import annotations

import itertools
import time
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings

from mckp_quant.solvers import InvalidProblem, Problem, Status, explain, solve
from mckp_quant.solvers.bounds.bound import best_price

from .. import oracle
from ..checks import tolerance
from ..drawn import FEASIBLE, problems
from ..families import quantisation


def next_useful(problem: Problem, resource: int, value: float) -> tuple[int, float] | None:
    """The least budget under which a selection is better, and the best value there."""
    exact = oracle.exactly(problem)
    others = [each for each in range(problem.n_resources) if each != resource]
    better = [
        (one.cost[resource], exact.number(one.value))
        for one in oracle.selections(problem)
        if exact.number(one.value) < value and all(one.cost[each] <= exact.budget[each] for each in others)
    ]
    return min(better, default=None)


@given(problem=problems(max_budgets=2, max_groups=5, max_choices=3, budgets=FEASIBLE, values=("few", "dyadic")))
@settings(max_examples=100)
def test_next_useful_budget_is_the_least_that_lowers_the_value(problem: Problem) -> None:
    solution = solve(problem)
    explanation = explain(problem, solution)
    if solution.choice is None:
        assert explanation.worths == ()
        return
    for resource, worth in enumerate(explanation.worths):
        truth = next_useful(problem, resource, solution.value)
        assert (worth.budget, worth.used) == (solution.budget[resource], solution.cost[resource])
        assert worth.slack == worth.budget - worth.used >= 0
        assert worth.price == best_price(problem, np.ones(problem.n_choices, dtype=bool))[resource]
        if truth is None:
            assert worth.next_budget is worth.saving is None
        else:
            assert worth.next_budget == truth[0]
            assert worth.saving == pytest.approx(solution.value - truth[1], abs=tolerance(problem))


def least_factor(problem: Problem) -> Fraction | None:
    """The least factor, over every selection."""
    budget = problem.budget.tolist()
    factors = [
        max(Fraction(cost, limit) for cost, limit in zip(one.cost, budget, strict=True) if limit > 0)
        for one in oracle.selections(problem)
        if all(cost <= limit for cost, limit in zip(one.cost, budget, strict=True) if limit <= 0)
        and any(limit > 0 for limit in budget)
    ]
    return min(factors, default=None)


@given(problem=problems(max_budgets=2, max_groups=5, max_choices=3, budgets=("least", "below least", "hit")))
@settings(max_examples=100)
def test_shortfalls_and_the_common_factor_are_what_trying_every_selection_finds(problem: Problem) -> None:
    solution = solve(problem)
    explanation = explain(problem, solution)
    assert explanation.status is solution.status
    if solution.status is not Status.INFEASIBLE:
        assert explanation.shortfalls == ()
        assert explanation.least_factor is None
        return
    assert explanation.least_factor == least_factor(problem)
    assert [each.least_budget for each in explanation.shortfalls] == list(oracle.least_budgets(problem))
    for resource, shortfall in enumerate(explanation.shortfalls):
        row = problem.cost[resource].tolist()
        single = {
            group: row[low]
            for group, (low, high) in enumerate(itertools.pairwise(problem.start.tolist()))
            if high == low + 1
        }
        assert set(shortfall.pinned) == {group for group, cost in single.items() if cost}
        assert [single[group] for group in shortfall.pinned] == sorted(filter(None, single.values()), reverse=True)
        assert shortfall.pinned_cost == sum(single.values())
        assert shortfall.least == problem.least_cost[resource]
        assert shortfall.forced == (shortfall.pinned_cost > shortfall.budget)


def test_sentences_say_what_a_budget_is_worth() -> None:
    problem = Problem.from_table([[8.0, 2.0], [4.0, 1.0]], [[1000, 3000], [1000, 2000]], 2500)
    lines = explain(problem, solve(problem)).sentences(["weight_bytes"])
    assert lines == [
        "Proved optimal: the value is 12.",
        "weight_bytes: 2,000 of 2,500 used, 500 left.",
        "weight_bytes: one more unit saves about 0.003 at the margin.",
        "weight_bytes: the next budget that helps is 3,000, 500 more; it saves 3, 0.006 per unit.",
    ]


def test_sentences_say_when_a_budget_is_worth_nothing() -> None:
    problem = Problem.from_table([[8.0, 2.0]], [[1, 3]], 5)
    assert explain(problem, solve(problem)).sentences() == [
        "Proved optimal: the value is 2.",
        "budget 0: 3 of 5 used, 2 left.",
        "budget 0: this budget does not limit the value at the margin.",
    ]


def test_sentences_say_why_nothing_fits_and_what_would() -> None:
    value = [[1.0, np.nan], [1.0, np.nan], [5.0, 3.0]]
    cost = [[[600, 0], [700, 0], [100, 200]], [[1, 0], [1, 0], [9, 3]]]
    problem = Problem.from_table(value, cost, [1200, 7])
    lines = explain(problem, solve(problem)).sentences(["bytes", "bops"], ["stem", "fc", "block"])
    assert lines == [
        "Proved infeasible.",
        "bytes: the budget is 1,200; the least that works while the others stay is 1,500, 300 more.",
        "bytes: 2 groups have a single choice and cost 1,300 of the least possible 1,400, more than the budget on "
        "their own; the dearest: fc, stem.",
        "bops: no budget works while the others stay (it is 7).",
        "bops: 2 groups have a single choice and cost 2 of the least possible 5; the dearest: stem, fc.",
        "Together, all budgets would have to be 1.250000 times as large.",
    ]
    assert "the dearest: group 1, group 0" in explain(problem, solve(problem)).sentences()[2]


def test_budget_of_zero_cannot_grow() -> None:
    problem = Problem.from_table([[1.0, 2.0]], [[3, 4]], 0)
    explanation = explain(problem, solve(problem))
    assert explanation.least_factor is None
    assert explanation.sentences()[-1] == "No common factor makes the budgets work."


def test_answer_that_is_not_proved_optimal_promises_no_next_budget() -> None:
    problem = quantisation(30, (2, 3, 4, 8), share=0.5, seed=3)
    solution = solve(problem, "greedy")
    explanation = explain(problem, solution)
    assert explanation.worths[0].next_budget is None
    assert explanation.sentences()[0].startswith("Feasible, not proved optimal: the value is ")
    assert "at most " in explanation.sentences()[0]


def test_search_that_found_nothing_has_only_a_bound_to_report() -> None:
    # Half a choice of each kind would do, so no price shows that nothing fits.
    problem = Problem.from_table(np.ones((3, 2)), [[[0, 2]] * 3, [[2, 0]] * 3], [3, 3])
    solution = solve(problem, "greedy")
    assert solution.status is Status.UNKNOWN
    explanation = explain(problem, solution)
    assert explanation.worths == ()
    assert explanation.shortfalls == ()
    (line,) = explanation.sentences()
    assert line == "Stopped before any feasible selection was found: the value cannot be below 3."


def test_answer_to_another_problem_is_refused() -> None:
    problem = quantisation(5, (2, 4), share=0.5, seed=1)
    with pytest.raises(InvalidProblem, match="seconds is 0: give a number of seconds above 0"):
        explain(problem, solve(problem), seconds=0)
    with pytest.raises(InvalidProblem, match=r"the solution is for the budgets \[\d+\], the problem has \[0\]"):
        explain(problem.with_budget([0]), solve(problem))


def test_budgets_for_which_no_time_is_left_are_told_without_a_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock jumps past the deadline at once."""
    problem = quantisation(8, (2, 4, 8), share=0.5, seed=0)
    solution = solve(problem)
    assert explain(problem, solution).worths[0].next_budget is not None
    ticks = iter([0.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(ticks, 1e6))
    assert explain(problem, solution, seconds=5).worths[0].next_budget is None


def test_interrupted_before_there_are_prices_it_says_what_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = quantisation(10, (2, 4, 8), share=0.5, seed=1, n_budgets=2)
    solution = solve(problem)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mckp_quant.solvers.questions.explanation.best_price", interrupted)
    explanation = explain(problem, solution)
    assert explanation.interrupted
    assert (explanation.value, explanation.worths) == (solution.value, ())
