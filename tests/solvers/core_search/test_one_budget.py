"""Both ways to search a core with one budget."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from mckp_quant.solvers import Exact, Problem, Status
from mckp_quant.solvers.core_search import dynamic, one_budget
from mckp_quant.solvers.instances import weakly_correlated

from .. import oracle
from ..checks import agrees, solved
from ..drawn import problems
from ..families import quantisation


@given(problem=problems(budgets=("between", "hit")))
@settings(max_examples=300)
def test_both_ways_to_search_find_the_optimum(problem: Problem) -> None:
    best = oracle.optimum(problem)
    for first, lists in ((10**7, 0), (-(10**6), 10**7)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(one_budget, "FIRST_STATES", first)
            patch.setattr(one_budget, "_STATES_OF_LISTS", lists)
            agrees(problem, solved(problem, "exact"), best)


@pytest.mark.parametrize("seed", range(3))
def test_second_search_takes_over_where_the_first_one_grows(seed: int) -> None:
    problem = quantisation(54, (2, 3, 4, 5, 6, 7, 8), share=0.5, seed=seed)
    first = solved(problem, "exact")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(one_budget, "FIRST_STATES", -(10**6))
        patch.setattr(one_budget, "_STATES_OF_LISTS", 10**7)
        second = solved(problem, "exact")
    assert first.status is second.status is Status.OPTIMAL
    assert first.value == second.value


def test_one_state_is_no_proof() -> None:
    problem = quantisation(40, (2, 3, 4, 5, 6, 7, 8), share=0.5, seed=3)
    best = solved(problem, "exact").value
    solution = solved(problem, Exact(max_states=1))
    assert solution.status is Status.FEASIBLE
    assert solution.certificate.bound <= best <= solution.value


@given(problem=problems(budgets=("between", "hit")))
@settings(max_examples=200)
def test_neither_grouping_nor_screening_loses_the_optimum(problem: Problem) -> None:
    best = oracle.optimum(problem)
    for at_once, screen in ((1, 0), (1, 2**16), (2**12, 0)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(dynamic, "_AT_ONCE", at_once)
            patch.setattr(dynamic, "_SCREEN", screen)
            agrees(problem, solved(problem, "exact"), best)


def test_what_is_left_of_weakly_correlated_data_is_filled_before_lists_grow() -> None:
    solution = solved(weakly_correlated(1000, 10, seed=0, reach=10_000), "exact")
    assert solution.status is Status.OPTIMAL
    assert solution.stats["states"] < 10**5
