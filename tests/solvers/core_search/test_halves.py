"""Meeting in the middle: pairs against brute force, the search against the oracle, and what its limits leave."""

from __future__ import annotations

import dataclasses
import itertools
import math
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.solvers import published
from mckp_quant.solvers import Exact, Status, solve
from mckp_quant.solvers import instances as generators
from mckp_quant.solvers.bounds.normal_form import normalise
from mckp_quant.solvers.core.reduction import reduce
from mckp_quant.solvers.core_search import halves as halves_module
from mckp_quant.solvers.core_search import lists as lists_module
from mckp_quant.solvers.core_search import pairing as pairing_module
from mckp_quant.solvers.core_search import several_budgets as several_module
from mckp_quant.solvers.core_search.halves import search_halves
from mckp_quant.solvers.core_search.pairing import Half, best_pair
from mckp_quant.solvers.kernels import dispatch

from .. import oracle
from ..checks import tolerance
from ..drawn import problems
from ..families import quantisation

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mckp_quant.solvers import Problem
    from mckp_quant.solvers.core.reduction import Reduction
    from mckp_quant.solvers.core_search.dynamic import CoreResult

NEVER = math.inf


def search(reduction: Reduction, max_states: int = 10**6, deadline: float = NEVER, deal: int = 0) -> CoreResult:
    gap, least_gain = reduction.gap, reduction.least_gain
    return search_halves(reduction.core, reduction.price, gap, least_gain, max_states, deadline, deal=deal)


def best_value(problem: Problem, reduction: Reduction, result: CoreResult) -> float:
    assert reduction.incumbent is not None
    found = reduction.incumbent if result.position is None else reduction.expand(result.position)
    assert (problem.cost[:, found].sum(axis=1) <= problem.budget).all()
    return math.fsum(problem.value[found].tolist())


@given(seed=st.integers(0, 2**32 - 1), n_resources=st.integers(1, 4), spread=st.sampled_from([3, 40, 10**5, 10**12]))
@settings(max_examples=150)
def test_best_pair_is_the_best_of_all_pairs(seed: int, n_resources: int, spread: int) -> None:
    rng = np.random.default_rng(seed)
    left, right = (
        Half(rng.random(n), rng.integers(-spread, spread + 1, (n_resources, n))) for n in rng.integers(1, 30, 2)
    )
    price = rng.random(n_resources) * rng.integers(0, 2, n_resources) / spread
    price[0] = rng.random() / spread
    slack = tuple(rng.integers(-spread, spread + 1, n_resources).tolist())
    ceiling = float(rng.choice([0.3, 1.0, 3.0, 1000.0]))
    totals = {}
    for i, j in itertools.product(range(len(left.regret)), range(len(right.regret))):
        unused = np.array(slack) - left.cost[:, i] - right.cost[:, j]
        total = left.regret[i] + right.regret[j] + float(price @ unused)
        if (unused >= 0).all() and total <= ceiling:
            totals[i, j] = total
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pairing_module, "_BLOCK", int(rng.choice([1, 7, 2**19])))
        patch.setattr(pairing_module, "_CELLS", int(rng.choice([4, 50, 2**24])))
        pair = best_pair(left, right, price, slack, ceiling, 0.0, NEVER)
    assert pair.exhausted
    assert pair.total == pytest.approx(min(totals.values(), default=math.inf), rel=1e-12)
    if totals:
        assert totals[pair.left, pair.right] == pytest.approx(pair.total, rel=1e-12)


@given(problem=problems(max_budgets=4, max_groups=7, max_choices=4, budgets=("between", "hit")))
@settings(max_examples=200)
def test_halves_find_the_optimum(problem: Problem) -> None:
    problem = normalise(problem).problem
    reduction = reduce(problem)
    if reduction.incumbent is None or reduction.closed:
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(halves_module, "_FIRST", 1 + problem.n_choices % 3)
        result = search(reduction, deal=problem.n_groups % 2)
    best = oracle.optimum(problem)
    assert best is not None
    if result.complete:
        assert best_value(problem, reduction, result) == pytest.approx(best, abs=tolerance(problem))
    else:  # huge costs, or budgets that are all free
        assert result.position is None


@given(problem=problems(max_budgets=4, max_groups=6, max_choices=4, costs=("few", "wide"), budgets=("between", "hit")))
@settings(max_examples=150)
def test_halves_need_no_selection_to_start_from(problem: Problem) -> None:
    problem = normalise(problem).problem
    reduction = reduce(problem)
    if reduction.incumbent is None or reduction.closed:
        return
    result = search(dataclasses.replace(reduction, gap=math.inf, least_gain=reduction.noise))
    best = oracle.optimum(problem)
    assert best is not None
    if result.complete:
        assert result.position is not None
        found = reduction.expand(result.position)
        assert math.fsum(problem.value[found].tolist()) <= math.fsum(problem.value[reduction.incumbent].tolist())


@pytest.mark.parametrize("seed", range(3))
def test_problems_of_many_budgets_are_proved(seed: int) -> None:
    problem = normalise(generators.several_budgets(30, 10, 5, seed=seed)).problem
    reduction = reduce(problem)
    result = search(reduction)
    assert result.complete
    value = best_value(problem, reduction, result)
    assert value <= solve(problem, "greedy").value
    solution = solve(problem, "exact")
    assert solution.status is Status.OPTIMAL
    assert solution.value == value


@pytest.mark.parametrize("max_states", [1, 100, 5000, 50_000])
def test_no_more_states_are_kept_than_allowed(max_states: int) -> None:
    problem = normalise(generators.several_budgets(60, 10, 5, seed=0)).problem
    reduction = reduce(problem)
    result = search(reduction, max_states, time.perf_counter() + 0.1)
    assert result.states <= max_states
    assert not result.complete
    assert best_value(problem, reduction, result) <= math.fsum(problem.value[reduction.incumbent].tolist())


def test_past_deadline_leaves_nothing_undone_unsaid() -> None:
    reduction = reduce(normalise(generators.several_budgets(30, 10, 5, seed=0)).problem)
    result = search(reduction, deadline=time.perf_counter())
    assert not result.complete
    assert result.position is None


def test_interrupt_leaves_the_best_selection_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = generators.several_budgets(60, 10, 5, seed=0)
    found: list[float] = []
    ordinary = best_pair

    def stops(*arguments: Any) -> Any:
        if found:
            raise KeyboardInterrupt
        pair = ordinary(*arguments)
        if pair.total < math.inf:
            found.append(pair.total)
        return pair

    monkeypatch.setattr(halves_module, "best_pair", stops)
    solution = solve(problem, "exact")
    first = reduce(normalise(problem).problem)
    assert found[0] < first.gap
    assert solution.status is Status.FEASIBLE
    assert solution.stats["interrupted"] is True
    assert solution.value < float(problem.value[first.incumbent].sum())
    assert solution.bound < solution.value


@pytest.mark.parametrize("hook", ["extend", "tails_of"])
def test_interrupt_in_lists_leaves_the_best_selection_so_far(hook: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def stops(*_: Any) -> Any:
        raise KeyboardInterrupt

    problem = generators.several_budgets(30, 10, 5, seed=1)
    monkeypatch.setattr(dispatch, "_COMPILED", None)  # kernels have neither function to stop
    monkeypatch.setattr(lists_module, hook, stops)
    solution = solve(problem, "exact")
    assert solution.status is Status.FEASIBLE
    assert solution.stats["interrupted"] is True
    first = reduce(normalise(problem).problem).incumbent
    assert solution.value == math.fsum(problem.value[first].tolist())


def test_every_search_of_the_turns_keeps_to_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[int] = []

    def recorded(ordinary: Callable[..., CoreResult]) -> Callable[..., CoreResult]:
        def records(*arguments: Any, **options: Any) -> CoreResult:
            result = ordinary(*arguments, **options)
            kept.append(result.states)
            return result

        return records

    for name in ("search_lists", "search_halves"):
        monkeypatch.setattr(several_module, name, recorded(getattr(several_module, name)))
    monkeypatch.setattr(several_module, "_FIRST_STATES", {False: 5, True: 5})
    monkeypatch.setattr(several_module, "_FIRST_SECONDS", 0.01)
    monkeypatch.setattr(several_module, "missing", lambda package: f"no {package} here")
    problem = quantisation(60, (2, 3, 4, 5, 6, 8), share=0.5, seed=1, n_budgets=3)
    solution = solve(problem, Exact(max_states=40))
    assert solution.status is Status.FEASIBLE
    assert len(kept) == 4  # lists of 5, of 20 and of 40 states, and halves after the last
    assert max(kept) <= 40


@pytest.mark.parametrize(("name", "optimum"), [("I02", 364.0), ("I03", 1602.0), ("I06", 4799.3)])
def test_khans_knapsacks_are_proved(instances: Path, name: str, optimum: float) -> None:
    if not (instances / published.KHAN).is_file():
        pytest.skip(f"{published.KHAN} is not in the folder of published problems")
    problem = published.khan(instances, name)
    solution = solve(problem, "exact")
    assert solution.status is Status.OPTIMAL
    assert solution.value == pytest.approx(-optimum, rel=1e-12)
