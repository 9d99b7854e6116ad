"""Every kernel gives what its NumPy twin gives, to the last bit."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mckp_quant.solvers import Problem, solve
from mckp_quant.solvers.bounds import gap as gaps
from mckp_quant.solvers.bounds import lagrangian, normal_form
from mckp_quant.solvers.core import reduction
from mckp_quant.solvers.core_search import dynamic, lists
from mckp_quant.solvers.core_search.one_budget import search_one_budget, solved_at_once
from mckp_quant.solvers.core_search.several_budgets import answer_of
from mckp_quant.solvers.instances import several_budgets
from mckp_quant.solvers.kernels import dispatch
from mckp_quant.solvers.problem import measures
from mckp_quant.solvers.questions import states
from tests.solvers.drawn import FEASIBLE, problems
from tests.solvers.families import quantisation, strongly_correlated, subset_sum

if TYPE_CHECKING:
    from mckp_quant.solvers.core.reduction import Reduction

pytestmark = pytest.mark.skipif(
    dispatch.compiled() is None, reason="there are no compiled kernels here, or NumPy is forced"
)

ONE_BUDGET = problems(budgets=FEASIBLE)
FAMILIES = [
    quantisation(54, (2, 3, 4, 8), share=0.5, seed=1),
    quantisation(54, (2, 3, 4, 5, 6, 7, 8), share=0.2, seed=2),
    quantisation(500, (2, 3, 4, 5, 6, 7, 8), share=0.8, seed=3),
    strongly_correlated(30, 10, seed=4),
    subset_sum(30, 10, seed=5),
]


def same(one: object, other: object) -> None:
    """Equal to the last bit, field by field."""
    if dataclasses.is_dataclass(one):
        for field in dataclasses.fields(one):
            same(getattr(one, field.name), getattr(other, field.name))
    elif isinstance(one, np.ndarray):
        np.testing.assert_array_equal(one, other, strict=True)
    else:
        assert one == other or (one != one and other != other)  # nan where there is no value


def compare_searches(problem: Problem, warm: bool) -> None:
    normal = normal_form.normalise(problem).problem
    start = normal.start[1:] - 1 if warm else None
    found = reduction.reduce(normal, start)
    same(found, reduction.reduce_in_numpy(normal, start, math.inf))
    if len(found.core.group):
        for states in (20, 3000):
            compare_searches_of_core(found, states)
    if normal.n_resources == 1:
        at_once = solved_at_once(normal, start, 10**6, math.inf)
        if at_once is not None:
            same(at_once, answer_of(found, search_one_budget(found, 10**6, math.inf)))


def compare_searches_of_core(found: Reduction, states: int) -> None:
    core, limits = found.core, (found.gap, found.least_gain, states, math.inf)
    if len(found.price) == 1:
        ours = dynamic.search_core(core, float(found.price[0]), *limits)
        twin = dynamic.search_in_numpy(core, float(found.price[0]), *limits, heard=None)
        if ours.complete or twin.complete:
            same(ours, twin)
        else:  # how many states were kept when a limit was hit is not part of an answer
            same(dataclasses.replace(ours, states=0), dataclasses.replace(twin, states=0))
    if not found.closed:
        listed = lists.search_lists(core, found.price, *limits)
        same(listed, lists.search_in_numpy(core, found.price, *limits, heard=None))


@given(ONE_BUDGET, st.booleans())
def test_reductions_and_searches_are_the_same(problem: Problem, warm: bool) -> None:
    compare_searches(problem, warm)


@pytest.mark.parametrize("problem", FAMILIES)
def test_reductions_and_searches_of_families_are_the_same(problem: Problem) -> None:
    compare_searches(problem, warm=False)
    compare_searches(problem, warm=True)


@given(problems(max_budgets=5, max_groups=10, budgets=FEASIBLE), st.booleans())
def test_reductions_and_lists_of_several_budgets_are_the_same(problem: Problem, warm: bool) -> None:
    compare_searches(problem, warm)


@pytest.mark.parametrize("n_budgets", [2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_lists_long_enough_for_dominance_are_the_same(n_budgets: int, seed: int) -> None:
    problem = quantisation(24, (2, 3, 4, 8), share=0.3, seed=seed, n_budgets=n_budgets)
    normal = normal_form.normalise(problem).problem
    found = reduction.reduce(normal)
    same(found, reduction.reduce_in_numpy(normal, None, math.inf))
    wide = dataclasses.replace(found, gap=math.inf)  # without an incumbent trials are many and their lists long
    compare_searches_of_core(wide, 20_000)


@pytest.mark.parametrize("n_budgets", [4, 6])
def test_many_budgets_are_reduced_and_listed_the_same(n_budgets: int) -> None:
    normal = normal_form.normalise(several_budgets(12, 6, n_budgets, seed=1)).problem
    found = reduction.reduce(normal)
    same(found, reduction.reduce_in_numpy(normal, None, math.inf))
    compare_searches_of_core(found, 20_000)


def test_budgets_that_cannot_be_met_together_are_reduced_the_same() -> None:
    problem = Problem.from_table([[0.0, 1.0]] * 3, [[[2, 0]] * 3, [[0, 2]] * 3], [2, 2])
    normal = normal_form.normalise(problem).problem
    found = reduction.reduce(normal)
    assert found.incumbent is None
    same(found, reduction.reduce_in_numpy(normal, None, math.inf))


@given(problems(max_budgets=3, budgets=FEASIBLE), st.floats(0, 1e6))
def test_what_a_certificate_needs_is_the_same(problem: Problem, rate: float) -> None:
    price = np.full(problem.n_resources, rate)
    price[0] = rate / 3
    value, fits = problem.value, problem.fits
    for counted in (fits, None):
        ours = lagrangian._nearly_tied(problem, value, counted, price)
        twin = lagrangian.nearly_tied_in_numpy(problem, value, counted, price)
        assert (ours is None) == (twin is None)
        if ours is not None and twin is not None:
            for one, other in zip(ours, twin, strict=True):
                same(one, other)
    assert gaps.whole_unit(problem) == gaps.whole_unit_in_numpy(problem)
    assert normal_form.outweighed(value, problem.start) == normal_form.outweighed_in_numpy(value, problem.start)
    same(measures.measured(problem.cost, problem.start), measures.measured_in_numpy(problem.cost, problem.start))
    cheapest = lagrangian.cheapest_at(problem, value, fits, price)
    assume(cheapest is not None)
    assert cheapest is not None
    choice = problem.start[1:] - 1
    apart, terms = gaps._deciding(problem, choice, cheapest)
    apart_in_numpy, terms_in_numpy = gaps.deciding_in_numpy(problem, choice, cheapest)
    assert apart == apart_in_numpy
    assert sorted(terms.tolist()) == sorted(terms_in_numpy.tolist())  # in another order: their sum is exact


@given(problems(max_budgets=2))
def test_solutions_are_the_same_and_hold_both_ways(problem: Problem) -> None:
    ours = solve(problem, "exact")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dispatch, "_COMPILED", None)
        twin = solve(problem.with_budget(problem.budget), "exact")
        assert ours.certificate.holds(problem)
    same(ours.choice, twin.choice)
    same(ours.certificate, twin.certificate)
    assert ours.stats == twin.stats
    assert twin.certificate.holds(problem)


def test_lists_that_are_cut_are_cut_to_the_same_states() -> None:
    problem = normal_form.normalise(strongly_correlated(30, 10, seed=2, reach=10_000)).problem
    found = reduction.reduce(problem)
    core = dataclasses.replace(found.core, least_total=0.0)
    limits = found.gap, found.noise, 300_000, math.inf
    ours = lists.search_lists(core, found.price, *limits)
    assert ours.states > 2 * lists._WIDTH
    same(ours, lists.search_in_numpy(core, found.price, *limits, heard=None))


def test_many_choices_near_the_gap_are_cut_to_the_same_ones() -> None:
    problem = subset_sum(40, 8, seed=7)
    normal = normal_form.normalise(problem).problem
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reduction, "PAIRS_UP_TO", 9)  # all reduced costs are 0, so that all of them are tied
        same(reduction.reduce(normal), reduction.reduce_in_numpy(normal, None, math.inf))
    for seed in range(5):
        normal = normal_form.normalise(quantisation(60, (2, 3, 4, 8), share=0.4, seed=seed)).problem
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(reduction, "PAIRS_UP_TO", 9)
            same(reduction.reduce(normal), reduction.reduce_in_numpy(normal, None, math.inf))


@given(
    st.integers(0, 2**32 - 1), st.integers(1, 3000), st.integers(1, 9), st.sampled_from([1, 12, 2**30]), st.booleans()
)
def test_merges_are_the_same(seed: int, n: int, n_choices: int, unit: int, sparse: bool) -> None:
    rng = np.random.default_rng(seed)
    cells = n * (50 if sparse else 2)
    cost = unit * np.concatenate([[0], np.sort(rng.choice(np.arange(1, cells), n - 1, replace=False))])
    value = np.sort(rng.choice([0.25, 1.0, 3.0], n) * rng.integers(1, 10**6, n))[::-1]
    before = states.nondominated(cost, value.astype(np.float64))
    own = unit * np.concatenate([[0], np.sort(rng.integers(0, cells, n_choices - 1))])
    extra = np.sort(rng.integers(0, 10**6, n_choices) / 4.0)[::-1].copy()
    for room in (int(cost[-1] + own[-1]), int(cost[-1]), 2**63 - 1):
        ours = states.merge(before, own, extra, room=room, unit=unit)
        same(ours, states.merge_in_numpy(before, own, extra, room=room, unit=unit))
