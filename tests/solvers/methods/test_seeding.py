"""No search ends below relax and greedy, whatever its time, and what nothing can fit is said at once."""

from __future__ import annotations

import dataclasses
import functools
import math

import numpy as np
import pytest

from mckp_quant.solvers import Answer, Problem, Rows, Status, front_door, solve
from mckp_quant.solvers.methods.seeding import allows, better_of, seed_of

from ..checks import verified

SEARCHES = ("auto", "exact", "cp_sat", "highs", "pulp", "scip")


def drawn(seed: int) -> Problem:
    """17 to 60 budgets that leave little room; every third problem may have none."""
    rng = np.random.default_rng(seed)
    n_budgets, n_groups, n_choices = int(rng.integers(17, 61)), int(rng.integers(3, 30)), int(rng.integers(2, 8))
    cost = rng.integers(0, 1000, (n_budgets, n_groups, n_choices))
    value = -cost.mean(axis=0) * rng.uniform(0.5, 1.5, (n_groups, n_choices))
    least, most = cost.min(axis=2).sum(axis=1), cost.max(axis=2).sum(axis=1)
    share = rng.uniform(0.2, 0.6) if seed % 3 == 0 else rng.uniform(0.45, 0.7)
    return Problem.from_table(value, cost, least + (share * (most - least)).astype(np.int64))


def nothing(*_: object, **__: object) -> Answer:
    return Answer(None)


@pytest.mark.parametrize("solver", SEARCHES)
def test_search_that_finds_nothing_ends_with_what_relax_or_greedy_find(
    solver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for each in ("exact", "cp_sat", "highs", "pulp", "scip"):
        monkeypatch.setattr(type(front_door.SOLVERS[each]()), "__call__", nothing)
    for seed in (0,):
        problem = drawn(seed)
        for budgets in (len(problem.budget), 4, 1):
            few, floor = _first_budgets(problem, budgets), _floor(seed, budgets)
            solution = solve(few, solver)
            assert solution.certificate.holds(few)
            if math.isfinite(floor):
                assert verified(few, solution).value == floor
            else:
                assert solution.choice is None


@pytest.mark.parametrize("seed", range(6))
def test_default_is_never_below_relax_or_greedy(seed: int) -> None:
    problem = drawn(seed)
    floor = min(_baselines(problem), default=math.inf)
    solution = verified(problem, solve(problem, seconds=0.5))
    assert math.isinf(floor) or solution.value <= floor


@functools.cache
def _floor(seed: int, budgets: int) -> float:
    return min(_baselines(_first_budgets(drawn(seed), budgets)), default=math.inf)


def _baselines(problem: Problem) -> list[float]:
    found = [solve(problem, solver) for solver in ("greedy", "relax")]
    return [each.value for each in found if each.choice is not None]


def _first_budgets(problem: Problem, count: int) -> Problem:
    return dataclasses.replace(problem, cost=problem.cost[:count], budget=problem.budget[:count])


def test_infeasible_under_many_budgets_no_solver_is_called_and_no_least_budget_sought(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def called(*_: object, **__: object) -> None:
        raise AssertionError

    # Each budget by itself can be met, and the two of a pair together by nothing.
    cost = np.zeros((18, 9, 2), dtype=np.int64)
    for group in range(9):
        cost[2 * group, group, 0] = cost[2 * group + 1, group, 1] = 2
    problem = Problem.from_table(np.zeros((9, 2)), cost, np.full(18, 0))
    for solver in ("scip", "highs"):
        monkeypatch.setattr(type(front_door.SOLVERS[solver]()), "__call__", called)
    monkeypatch.setattr(front_door, "least_budgets", called)
    solution = solve(problem)
    assert solution.status is Status.INFEASIBLE
    with pytest.raises(AssertionError):
        solution.require()


def test_seed_is_the_better_of_both_and_within_rows() -> None:
    problem = drawn(1)
    seed = seed_of(problem, math.inf)
    assert seed is not None
    assert float(problem.value[seed].sum()) == pytest.approx(min(_baselines(problem)))
    barred = Rows(np.array([0, 1]), seed[:1], np.array([1]), np.array([0]), np.array([0]))
    assert allows(problem, seed)
    assert not allows(dataclasses.replace(problem, rows=barred), seed)
    assert better_of(dataclasses.replace(problem, rows=barred), seed, None) is None
