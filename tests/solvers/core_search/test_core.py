"""One budget: the unit of the values, the lattice cut, filling up, and both ways to search a core."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mckp_quant.solvers import Exact, Problem, Status
from mckp_quant.solvers.bounds.bound import relax_one_budget
from mckp_quant.solvers.bounds.hull import undominated
from mckp_quant.solvers.core.incumbent import fill
from mckp_quant.solvers.core.lattice import least_total
from mckp_quant.solvers.core.reduction import reduce
from mckp_quant.solvers.core_search import combinations, dynamic, one_budget
from mckp_quant.solvers.core_search.combinations import combine
from mckp_quant.solvers.core_search.remaining import Choices, Remaining
from mckp_quant.solvers.instances import weakly_correlated

from .. import oracle
from ..checks import agrees, solved
from ..drawn import FEASIBLE, problems
from ..families import quantisation, strongly_correlated, subset_sum


@given(
    seed=st.integers(0, 2**32 - 1),
    step=st.integers(1, 12),
    slope=st.integers(-3, 3),
    unit=st.sampled_from([1.0, 0.25, 1024.0]),
    thin=st.integers(1, 4),
)
@settings(max_examples=200)
def test_no_selection_comes_closer_to_the_bound_than_the_lattice_lets_it(
    seed: int, step: int, slope: int, unit: float, thin: int
) -> None:
    rng = np.random.default_rng(seed)
    n_groups, n_choices = int(rng.integers(1, 5)), int(rng.integers(1, 5))
    cost = thin * rng.integers(-20, 21, (n_groups, n_choices))
    value = np.float64(unit) * (slope * cost + step * rng.integers(-9, 10, (n_groups, n_choices)))
    value = value.astype(np.float64)
    cost[:, 0], value[:, 0] = 0, 0.0
    price, slack = float(rng.random() * 8 * unit), int(rng.integers(0, 60))
    offset = np.minimum(value + price * cost, 0).min(axis=1).sum()  # any price: the reference need not be cheapest
    least = least_total(value.ravel(), cost.ravel(), price, slack, unit)
    assert least >= 0
    for chosen in itertools.product(range(n_choices), repeat=n_groups):
        at = (np.arange(n_groups), chosen)
        unused = slack - int(cost[at].sum())
        total = float((value[at] + price * cost[at]).sum()) + price * unused
        if unused >= 0 and offset == 0:
            assert total >= least - 1e-9 * unit


def test_lattice_closes_what_rounding_to_the_unit_cannot() -> None:
    # Profit 10 a step beside the weight: between the bound and the best selection lie several units of profit.
    problem = strongly_correlated(1000, 10, seed=0, reach=1000)
    reduction = reduce(problem)
    assert reduction.gap > 2 * reduction.least_gain
    assert reduction.core.least_total > 0
    solution = solved(problem, "exact")
    assert solution.status is Status.OPTIMAL
    assert solution.stats["states"] < 10**5


@pytest.mark.parametrize("n_groups", [100, 2000])
def test_subset_sums_are_filled_to_the_brim_before_any_search(n_groups: int) -> None:
    solution = solved(subset_sum(n_groups, 10, seed=1, reach=10_000), "exact")
    assert solution.status is Status.OPTIMAL
    assert solution.cost == solution.budget
    assert solution.stats["states"] == 0


@given(problem=problems(max_groups=8, budgets=FEASIBLE))
@settings(max_examples=300)
def test_filling_stays_within_the_budget_and_takes_every_step_above_the_rate(problem: Problem) -> None:
    hull, rate = relax_one_budget(problem, undominated(problem.value, problem.cost[0], problem.start))
    filled = fill(problem, hull, rate)
    cost = sum(problem.cost[0, filled].tolist())
    assert cost <= int(problem.budget[0])
    best = -math.inf if rate == 0 else problem.value[hull.point[hull.first]].sum()
    assert rate == 0 or problem.value[filled].sum() <= best
    # No tied step that was passed over would still fit.
    taken = dict(zip(problem.group[filled].tolist(), filled.tolist(), strict=True))
    for step in np.flatnonzero(hull.rate == rate).tolist() if rate else []:
        if taken[int(hull.group[step])] == hull.point[hull.tail[step]]:
            assert cost + int(hull.weight[step]) > int(problem.budget[0])


@given(problem=problems(budgets=("between", "hit")))
@settings(max_examples=300)
def test_both_ways_to_search_find_the_optimum(problem: Problem) -> None:
    best = oracle.optimum(problem)
    for first, lists in ((10**7, 0), (-(10**6), 10**7)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(one_budget, "_FIRST_STATES", first)
            patch.setattr(one_budget, "_STATES_OF_LISTS", lists)
            agrees(problem, solved(problem, "exact"), best)


@pytest.mark.parametrize("seed", range(3))
def test_second_search_takes_over_where_the_first_one_grows(seed: int) -> None:
    problem = quantisation(54, (2, 3, 4, 5, 6, 7, 8), share=0.5, seed=seed)
    first = solved(problem, "exact")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(one_budget, "_FIRST_STATES", -(10**6))
        patch.setattr(one_budget, "_STATES_OF_LISTS", 10**7)
        second = solved(problem, "exact")
    assert first.status is second.status is Status.OPTIMAL
    assert first.value == second.value


@given(scale=st.sampled_from([1.0, 2.0**-30, 2.0**40, 3.0]), seed=st.integers(0, 1000))
@settings(max_examples=30)
def test_unit_of_the_values_is_found_at_any_scale(scale: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    cost = rng.integers(1, 50, (6, 4))
    value = rng.integers(0, 30, (6, 4)) * 6.0 * scale
    problem = Problem.from_table(value, cost, int(cost.mean(axis=1).sum()))
    reduction = reduce(problem)
    assert reduction.gap == 0 or reduction.least_gain >= 6.0 * scale * (1 - 1e-9)
    agrees(problem, solved(problem, "exact"), oracle.optimum(problem))


def test_values_without_a_unit_are_told_apart_to_the_last_digits() -> None:
    value = [[0.0, 1.0], [1.0 + 2.0**-40, 0.0], [0.5, 0.25]]
    problem = Problem.from_table(value, [[5, 0], [0, 5], [1, 2]], 6)
    agrees(problem, solved(problem, "exact"), oracle.optimum(problem))


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


@pytest.mark.parametrize("filter_from", [0, 10**6])
@pytest.mark.parametrize("seed", range(4))
def test_combinations_are_all_changes_within_the_limit(
    seed: int, filter_from: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(combinations, "_FILTER_FROM", filter_from)
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(4), [1, 3, 2, 2])
    cost, reduced = rng.integers(-9, 10, 8), rng.random(8)
    cost[cost == 0] = 1
    price = 0.75
    index = rng.permutation(100)[:8]
    choices = Choices(index, group, cost, reduced - price * cost, reduced, reduced / np.abs(cost))
    most = 1.2
    made, after = combine(Remaining.of(choices, price), 1, 10**6, price, most)
    assert after == 4
    members = [(None, 1, 2, 3), (None, 4, 5), (None, 6, 7)]
    ways = [[at for at in way if at is not None] for way in itertools.product(*members)]
    wanted = {
        frozenset(index[way].tolist()): (int(cost[way].sum()), float((reduced - price * cost)[way].sum()))
        for way in ways
        if filter_from or reduced[way].sum() <= most
    }
    found = {frozenset(made.chosen(at)): at for at in range(len(made))}
    assert found.keys() == wanted.keys()
    assert found[frozenset()] == 0
    for way, at in found.items():
        assert (int(made.cost[at]), float(made.value[at])) == pytest.approx(wanted[way])
    few, after = combine(Remaining.of(choices, price), 1, 5, price, math.inf)
    assert (len(few), after) == (4, 2)  # a group enters whole, however few are wanted


def test_what_is_left_of_weakly_correlated_data_is_filled_before_lists_grow() -> None:
    solution = solved(weakly_correlated(1000, 10, seed=0, reach=10_000), "exact")
    assert solution.status is Status.OPTIMAL
    assert solution.stats["states"] < 10**5
