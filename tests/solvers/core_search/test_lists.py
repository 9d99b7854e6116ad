"""Several budgets, exactly: the price, the bounds of what follows, dominance, and the search as a whole."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from scipy.optimize import linprog

from mckp_quant.solvers import Exact, Problem, Status, solve
from mckp_quant.solvers.bounds.bound import best_price
from mckp_quant.solvers.bounds.lagrangian import lagrangian_bound
from mckp_quant.solvers.bounds.price import dual_price
from mckp_quant.solvers.core.reduction import reduce
from mckp_quant.solvers.core_search import lists as lists_module
from mckp_quant.solvers.core_search import partial as partial_module
from mckp_quant.solvers.core_search import several_budgets as several_module
from mckp_quant.solvers.core_search.lists import search_lists
from mckp_quant.solvers.core_search.tails import tails_of
from mckp_quant.solvers.kernels import dispatch

from .. import oracle
from ..checks import agrees, solved
from ..drawn import FEASIBLE, problems
from ..families import quantisation

KHAN = Path(__file__).parents[3].parent / "shared" / "instances" / "mmkp_khan.json"
SMALL_COSTS = ("few", "wide", "common factor", "quantisation")


def linear_relaxation(problem: Problem) -> float | None:
    """The value of the linear relaxation by a general solver, without choices that fit beside no others; or None."""
    least = np.minimum.reduceat(problem.cost, problem.start[:-1], axis=1)
    room = problem.budget - np.array(problem.least_cost)
    fits = (problem.cost - least[:, problem.group] <= room[:, None]).all(axis=0)
    one = (problem.group[None] == np.arange(problem.n_groups)[:, None]).astype(float)
    unit = np.maximum(problem.cost.max(axis=1), 1)
    scale = float(np.abs(problem.value).max()) or 1.0
    result = linprog(
        problem.value / scale,
        A_ub=problem.cost / unit[:, None],
        b_ub=problem.budget / unit,
        A_eq=one,
        b_eq=np.ones(problem.n_groups),
        bounds=[(0, None if each else 0) for each in fits],
        method="highs-ds",
    )
    return None if result.fun is None else float(result.fun) * scale


@given(
    problem=problems(max_budgets=4, max_groups=8, costs=SMALL_COSTS, values=("any", "dyadic", "few"), budgets=FEASIBLE)
)
@settings(max_examples=200)
def test_price_is_the_dual_of_the_linear_relaxation(problem: Problem) -> None:
    rounded = problem.with_budget([sum(each) for each in zip(problem.least_cost, problem.room, strict=True)])
    relaxed = linear_relaxation(rounded)
    if relaxed is not None:
        bound = lagrangian_bound(rounded, best_price(rounded))
        largest = float(np.abs(problem.value).sum())
        assert bound == pytest.approx(relaxed, rel=1e-6, abs=1e-6 * largest)


def test_budgets_that_only_exclude_each_other_have_no_price() -> None:
    problem = Problem.from_table([[0.0, 1.0]], [[[0, 4]], [[4, 0]]], [1, 1])
    assert dual_price(problem) is None
    assert best_price(problem).tolist() == [0.0, 0.0]
    assert solved(problem, "exact").status is Status.INFEASIBLE


@given(problem=problems(max_budgets=3, max_groups=7, max_choices=4))
@settings(max_examples=300)
def test_exact_finds_the_optimum_of_several_budgets(problem: Problem) -> None:
    best = oracle.optimum(problem)
    solution = solved(problem, "exact")
    agrees(problem, solution, best)
    if best is not None and solution.choice is not None:
        chosen = problem.value[problem.position(solution.choice)]
        assert solution.value <= best + 1e-12 * math.fsum(np.abs(chosen).tolist())


@given(problem=problems(max_budgets=3, max_groups=7, max_choices=4, budgets=("between", "hit", "least")))
@settings(max_examples=150)
def test_lists_alone_and_general_solver_alone_find_the_same_value(problem: Problem) -> None:
    best = oracle.optimum(problem)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(several_module, "missing", lambda package: f"no {package} here")
        agrees(problem, solved(problem, "exact"), best)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(several_module, "_FIRST_STATES", {False: 1, True: 1})
        agrees(problem, solved(problem, "exact"), best)


@given(problem=problems(max_budgets=3, max_groups=6, max_choices=4, budgets=("between", "hit")))
@settings(max_examples=150)
def test_dominance_and_narrow_lists_lose_nothing(problem: Problem) -> None:
    best = oracle.optimum(problem)
    with pytest.MonkeyPatch.context() as patch:
        for name, number in (("_DOMINANCE_FROM", 1), ("_WIDTH", 2), ("_BEAM", 1)):
            patch.setattr(lists_module, name, number)
        for name in ("_BOUND_FROM", "_BLOCK"):
            patch.setattr(partial_module, name, 1)
        agrees(problem, solved(problem, "exact"), best)


@given(
    problem=problems(max_budgets=3, max_groups=5, max_choices=3, costs=SMALL_COSTS, values=("any", "few", "decades"))
)
@settings(max_examples=150)
def test_no_completion_costs_less_than_what_is_owed(problem: Problem) -> None:
    reduction = reduce(problem) if all(np.array(problem.least_cost) <= problem.budget) else None
    if reduction is None or not len(reduction.core.group):
        return
    core, price = reduction.core, reduction.price
    order = np.arange(len(core.group))
    tails = tails_of(core, order, price, math.inf)
    members = [range(core.start[group], core.start[group + 1]) for group in order]
    for rank in range(len(order) + 1):
        for head in itertools.product(*members[:rank]):
            spent = core.cost[:, list(head)].sum(axis=1)
            owed = float(tails.owed(rank, spent[:, None])[0])
            totals = []
            for tail in itertools.product(*members[rank:]):
                unused = np.array(core.slack) - spent - core.cost[:, list(tail)].sum(axis=1)
                if (unused >= 0).all():
                    totals.append(float(core.reduced[list(tail)].sum() + price @ unused))
            assert owed <= min(totals, default=math.inf) + tails.rounding


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("n_budgets", [2, 3])
def test_several_budgets_are_proved_at_the_size_of_real_networks(seed: int, n_budgets: int) -> None:
    problem = quantisation(54, (2, 3, 4, 8), share=0.5, seed=seed, n_budgets=n_budgets)
    own, general = solved(problem, "exact"), solved(problem, "cp_sat")
    assert own.status is general.status is Status.OPTIMAL
    assert own.value == pytest.approx(general.value, rel=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_budget_without_end_is_as_good_as_none(seed: int) -> None:
    problem = quantisation(30, (2, 3, 4, 8), share=0.5, seed=seed)
    cost = np.concatenate([problem.cost, problem.cost[:, ::-1], problem.cost % 97])
    for budget in (2**63 - 1, int(cost[1].sum())):
        wide = dataclasses.replace(problem, cost=cost, budget=np.array([problem.budget[0], budget, budget]))
        solution = solved(wide, "exact")
        assert solution.status is Status.OPTIMAL
        assert solution.value == solved(problem, "exact").value


@pytest.mark.parametrize("scale", [1e-12, 1e-6, 1e12])
def test_scale_of_the_values_changes_nothing(scale: float) -> None:
    problem = quantisation(30, (2, 3, 4, 8), share=0.4, seed=5, n_budgets=3)
    natural = solved(problem, "exact")
    scaled = solved(dataclasses.replace(problem, value=problem.value * scale), "exact")
    assert scaled.status is natural.status is Status.OPTIMAL
    assert scaled.choice is not None
    assert natural.choice is not None
    assert scaled.choice.tolist() == natural.choice.tolist()


def test_limits_leave_an_honest_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = quantisation(60, (2, 3, 4, 5, 6, 8), share=0.5, seed=1, n_budgets=3)
    best = solved(problem, "exact").value
    few = solved(problem, Exact(max_states=1))
    monkeypatch.setattr(dispatch, "_COMPILED", None)  # kernels are done before they first look at the clock
    hurried = solved(problem, "exact", seconds=1e-9)
    for solution in (few, hurried):
        assert solution.status is Status.FEASIBLE
        assert solution.certificate.bound <= best <= solution.value


def test_states_stay_within_their_limit() -> None:
    problem = quantisation(60, (2, 3, 4, 5, 6, 8), share=0.5, seed=1, n_budgets=3)
    reduction = reduce(problem)
    for limit in (1, 100, 3000):
        result = search_lists(
            reduction.core, reduction.price, reduction.gap, reduction.least_gain, limit, time.perf_counter() + 60
        )
        assert result.states <= limit


def test_feasible_selection_is_found_where_repair_finds_none() -> None:
    found = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        cost = rng.integers(0, 100, (3, 6, 4))
        budget = cost[:, np.arange(6), rng.integers(0, 4, 6)].sum(axis=1)
        problem = Problem.from_table(rng.normal(size=(6, 4)), cost, budget)
        if reduce(problem).incumbent is None:
            found += 1
            agrees(problem, solved(problem, "exact"), oracle.optimum(problem))
    assert found > 0


@pytest.mark.skipif(not KHAN.exists(), reason="the published problems are not beside the project")
@pytest.mark.parametrize(("name", "optimum"), [("I01", 173), ("I02", 364), ("I05", 3905.7), ("I06", 4799.3)])
def test_published_problems_of_many_budgets_are_proved(name: str, optimum: float) -> None:
    instance = json.loads(KHAN.read_text())["instances"][name]
    weight = np.moveaxis(np.array(instance["weight"]), 2, 0).astype(np.int64)
    problem = Problem.from_table(-np.array(instance["value"]), weight, np.array(instance["capacity"]).astype(np.int64))
    solution = solve(problem, "exact")
    assert solution.status is Status.OPTIMAL
    assert solution.value == pytest.approx(-optimum, rel=1e-12)
