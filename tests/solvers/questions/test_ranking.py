"""The k best selections, against sorting every selection."""

from __future__ import annotations

import dataclasses
import itertools
import math
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mckp_quant.solvers import InvalidProblem, Problem, Rows, Solution, Status, k_best, solve
from mckp_quant.solvers.questions import ranking as ranking_module

from .. import oracle
from ..checks import tolerance, verified
from ..drawn import FEASIBLE, problems
from ..families import quantisation, strongly_correlated, subset_sum, zigzag


def labels(solutions: list[Solution]) -> list[tuple[int, ...]]:
    return [tuple(one.choice.tolist()) for one in solutions if one.choice is not None]


def are_distinct_and_sorted(problem: Problem, solutions: list[Solution]) -> None:
    for rank, solution in enumerate(solutions, start=1):
        verified(problem, solution)
        assert solution.stats["rank"] == rank
    found = labels(solutions)
    assert len(set(found)) == len(found) == len(solutions)
    order = [(one.value, one.cost, own) for one, own in zip(solutions, found, strict=True)]
    assert order == sorted(order)


@given(problem=problems(max_groups=6, max_choices=4), k=st.sampled_from([1, 2, 3, 7, 20, 100, 5000]))
@settings(max_examples=150)
def test_k_best_are_the_first_k_of_all_selections_sorted(problem: Problem, k: int) -> None:
    exact, everything = oracle.exactly(problem), oracle.feasible(problem)
    solutions = k_best(problem, k)
    are_distinct_and_sorted(problem, solutions)
    assert len(solutions) == min(k, len(everything))
    for solution, one in zip(solutions, everything, strict=False):
        assert solution.status is Status.OPTIMAL
        assert abs(solution.value - exact.number(one.value)) <= tolerance(problem)


@given(problem=problems(max_budgets=3, max_groups=5, max_choices=3), k=st.sampled_from([1, 3, 10, 500]))
@settings(max_examples=60)
def test_several_budgets_are_ranked_too(problem: Problem, k: int) -> None:
    exact, everything = oracle.exactly(problem), oracle.feasible(problem)
    solutions = k_best(problem, k)
    are_distinct_and_sorted(problem, solutions)
    assert len(solutions) == min(k, len(everything))
    for solution, one in zip(solutions, everything, strict=False):
        assert solution.status is Status.OPTIMAL
        assert abs(solution.value - exact.number(one.value)) <= 2 * tolerance(problem)


FAMILIES = {
    "quantisation": quantisation(54, (2, 3, 4, 8), share=0.4, seed=1),
    "many groups": quantisation(300, (2, 3, 4, 8), share=0.5, seed=2),
    "slack budget": quantisation(20, (2, 4, 8), share=1.0, seed=3),
    "subset-sum": subset_sum(20, 5, seed=4),
    "strongly correlated": strongly_correlated(20, 5, seed=5),
    "zigzag": zigzag(20, 5, seed=6),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_no_neighbour_of_the_list_was_missed(family: str) -> None:
    problem = FAMILIES[family]
    solutions = k_best(problem, 60)
    are_distinct_and_sorted(problem, solutions)
    assert len(solutions) == 60
    assert all(one.status is Status.OPTIMAL for one in solutions)
    best = solve(problem)
    assert abs(solutions[0].value - best.value) <= 1e-12 * abs(best.value)
    listed = set(labels(solutions))
    limit = solutions[-1].value * (1 - 1e-12 * np.sign(solutions[-1].value))
    for solution in solutions[:30]:
        position = problem.position([] if solution.choice is None else solution.choice)
        value = solution.value + problem.value - problem.value[position][problem.group]
        cost = solution.cost[0] + problem.cost[0] - problem.cost[0, position][problem.group]
        for at in np.flatnonzero((value < limit) & (cost <= problem.budget[0])).tolist():
            neighbour = position.copy()
            neighbour[problem.group[at]] = at
            assert tuple(problem.label[neighbour].tolist()) in listed


@given(problem=problems(max_groups=6, max_choices=4, budgets=FEASIBLE), k=st.integers(1, 40))
@settings(max_examples=50)
def test_shorter_list_has_the_values_of_the_longer_one(problem: Problem, k: int) -> None:
    short, long = k_best(problem, k), k_best(problem, 2 * k)
    assert labels(short) == labels(k_best(problem, k))
    for one, other in zip(short, long, strict=False):
        assert abs(one.value - other.value) <= tolerance(problem)


@given(problem=problems(max_groups=6, max_choices=4, budgets=FEASIBLE), max_states=st.sampled_from([1, 3, 10, 30]))
@settings(max_examples=200)
def test_whatever_a_short_list_claims_is_true(problem: Problem, max_states: int) -> None:
    exact, everything = oracle.exactly(problem), oracle.feasible(problem)
    solutions = k_best(problem, 10, max_states=max_states)
    are_distinct_and_sorted(problem, solutions)
    for solution, one in zip(solutions, everything, strict=False):
        if solution.status is Status.OPTIMAL:
            assert abs(solution.value - exact.number(one.value)) <= tolerance(problem)


def test_limits_cost_the_proof_not_the_selections() -> None:
    problem = quantisation(100, (2, 3, 4, 8), share=0.5, seed=8)
    cut = k_best(problem, 20, max_states=500)
    are_distinct_and_sorted(problem, cut)
    assert cut
    assert cut[-1].status is Status.FEASIBLE
    assert cut[-1].bound <= k_best(problem, 1)[0].value


def test_limit_under_which_no_list_ends_still_gives_the_best_one() -> None:
    rng = np.random.default_rng(0)
    cost = rng.integers(10**6, 10**7, (3, 5))
    value = -(cost + rng.integers(-50, 50, cost.shape)).astype(float)
    problem = Problem.from_table(value, cost, int(cost.min(axis=1).sum() + cost.max(axis=1).sum()) // 2)
    best = solve(problem)
    for most in range(1, 40):
        solutions = k_best(problem, 3, max_states=most)
        assert solutions
        are_distinct_and_sorted(problem, solutions)
        if solutions[0].status is Status.OPTIMAL:
            assert solutions[0].value == best.value


def test_time_limit_is_kept() -> None:
    problem = subset_sum(2000, 10, seed=9, reach=10**9)
    started = time.process_time()
    solutions = k_best(problem, 50, seconds=0.05)
    assert time.process_time() - started < 10
    are_distinct_and_sorted(problem, solutions)


def test_time_limit_is_kept_with_several_budgets() -> None:
    problem = quantisation(30, (2, 3, 4, 8), share=0.5, seed=9, n_budgets=2)
    solutions = k_best(problem, 10**9, seconds=0.3)
    are_distinct_and_sorted(problem, solutions)
    assert solutions
    best = solve(problem)
    assert abs(solutions[0].value - best.value) <= 1e-12 * abs(best.value)


def test_duplicate_choices_are_selections_of_their_own() -> None:
    problem = Problem.from_table(np.zeros((3, 2)), np.zeros((3, 2), dtype=np.int64), 0)
    solutions = k_best(problem, 10)
    assert sorted(labels(solutions)) == sorted(labels(k_best(problem, 8)))
    assert len(solutions) == 8
    assert {one.value for one in solutions} == {0.0}


def test_nothing_feasible_is_an_empty_list() -> None:
    problem = quantisation(5, (2, 4), share=0.5, seed=1)
    assert k_best(problem.with_budget([problem.least_cost[0] - 1]), 3) == []


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_scale_of_values_is_irrelevant(scale: float) -> None:
    problem = quantisation(30, (2, 3, 4, 8), share=0.5, seed=10)
    scaled = dataclasses.replace(problem, value=problem.value * scale)
    assert labels(k_best(problem, 20)) == labels(k_best(scaled, 20))


def test_arguments_without_sense_are_refused() -> None:
    problem = quantisation(5, (2, 4), share=0.5, seed=1)
    with pytest.raises(InvalidProblem, match="k is 0: it must be a whole number, at least 1"):
        k_best(problem, 0)
    with pytest.raises(InvalidProblem, match=r"k is 2\.5: it must be a whole number, at least 1"):
        k_best(problem, 2.5)  # type: ignore[arg-type]
    with pytest.raises(InvalidProblem, match="max_states is 0: it must be a whole number, at least 1"):
        k_best(problem, 1, max_states=0)
    with pytest.raises(InvalidProblem, match="seconds is -1: give a number of seconds above 0"):
        k_best(problem, 1, seconds=-1)
    one = np.ones(1, dtype=np.int64)
    row = Rows(np.array([0, 1]), 0 * one, one, 0 * one, one)
    with pytest.raises(InvalidProblem, match="k_best takes no further rows"):
        k_best(dataclasses.replace(problem, rows=row), 1)


def test_interrupted_it_writes_the_best_of_what_it_found_while_there_is_time(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = strongly_correlated(10, 4, seed=1)
    everything = k_best(problem, 30)
    ordinary = ranking_module._search

    def interrupted(*arguments: Any) -> Any:
        return *ordinary(*arguments)[:3], True

    monkeypatch.setattr(ranking_module, "_search", interrupted)
    assert labels(k_best(problem, 30)) == labels(everything)
    monkeypatch.setattr(ranking_module, "_WRITTEN_WITHIN", -math.inf)
    (first,) = k_best(problem, 30)
    assert first.value == everything[0].value
    assert first.status is Status.OPTIMAL


def test_interrupt_while_certificates_are_written_keeps_those_that_are(monkeypatch: pytest.MonkeyPatch) -> None:
    problem, ordinary, calls = strongly_correlated(10, 4, seed=1), ranking_module._certificate, itertools.count()

    def interrupted(*arguments: Any) -> Any:
        if next(calls) == 3:
            raise KeyboardInterrupt
        return ordinary(*arguments)

    everything = k_best(problem, 30)
    monkeypatch.setattr(ranking_module, "_certificate", interrupted)
    assert labels(k_best(problem, 30)) == labels(everything)[:3]
