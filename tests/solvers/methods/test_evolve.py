from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings

from mckp_quant.solvers import Evolve, InvalidProblem, Status, solve

from .. import oracle
from ..checks import solved, tolerance
from ..drawn import FEASIBLE, problems
from ..families import quantisation, strongly_correlated, subset_sum

if TYPE_CHECKING:
    from mckp_quant.solvers import Problem


@given(problem=problems(max_groups=4, max_choices=3, budgets=FEASIBLE))
@settings(max_examples=60)
def test_with_one_budget_a_selection_within_it_is_always_found_and_mostly_the_best(problem: Problem) -> None:
    best = oracle.optimum(problem)
    assert best is not None
    found = [solved(problem, Evolve(population=20), seed=seed).value for seed in range(2)]
    assert min(found) >= best
    assert min(found) <= best + tolerance(problem) or problem.n_groups > 1


@given(problem=problems(max_budgets=3, max_groups=4, max_choices=3))
@settings(max_examples=60)
def test_what_it_finds_is_within_every_budget_and_never_better_than_the_best(problem: Problem) -> None:
    best = oracle.optimum(problem)
    solution = solved(problem, Evolve(population=20, evaluations=200))
    if best is None:
        assert solution.choice is None
    elif solution.choice is not None:
        assert solution.value >= best


FAMILIES = {
    "quantisation": (quantisation(30, (2, 3, 4, 8), share=0.4, seed=0), 0.02),
    "two budgets": (quantisation(30, (2, 3, 4, 8), share=0.4, seed=1, n_budgets=2), 0.02),
    "three budgets": (quantisation(30, (2, 3, 4, 8), share=0.5, seed=2, n_budgets=3), 0.02),
    "strongly correlated": (strongly_correlated(30, 5, seed=3), 0.01),
    "subset sum": (subset_sum(30, 5, seed=4), 0.001),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_search_comes_close_and_improves_on_its_first_population(family: str) -> None:
    problem, share = FAMILIES[family]
    first = solved(problem, Evolve(evaluations=100), seed=1)
    last = solved(problem, Evolve(), seed=1)
    assert first.stats["generations"] == 0
    assert last.value < first.value or family == "subset sum"
    assert last.relative_gap < share


def test_evaluations_are_a_limit() -> None:
    problem = quantisation(30, (2, 4, 8), share=0.5, seed=0)
    for evaluations in (40, 41, 99, 400):
        stats = solved(problem, Evolve(evaluations=evaluations, population=40)).stats
        assert stats["evaluations"] == evaluations
        assert stats["generations"] == -(-(evaluations - 40) // 36)


def test_more_evaluations_never_lose_what_was_found() -> None:
    problem = strongly_correlated(40, 6, seed=0)
    values = [solved(problem, Evolve(evaluations=n, population=20), seed=3).value for n in (20, 100, 500, 2500)]
    assert values == sorted(values, reverse=True)
    assert values[-1] < values[0]


def test_seed_decides_and_nothing_else_does() -> None:
    problem = strongly_correlated(40, 6, seed=0)
    solver = Evolve(evaluations=300, population=20)
    chosen = [solve(problem, solver, seed=seed).choice for seed in (0, 0, 1, 2)]
    assert all(each is not None for each in chosen)
    first, again, *others = (np.asarray(each).tolist() for each in chosen)
    assert first == again
    assert any(other != first for other in others)
    script = (
        "import json\nfrom mckp_quant.solvers import *\nimport numpy as np\n"
        "rng = np.random.default_rng(0)\n"
        "weight = np.sort(rng.integers(1, 101, (40, 6)), axis=1)\n"
        "value, cost = -np.cumsum(weight + 10.0, axis=1), np.cumsum(weight, axis=1)\n"
        "least, most = cost.min(axis=1).sum(), cost.max(axis=1).sum()\n"
        "problem = Problem.from_table(value, cost, int(least) + int(0.5 * int(most - least)))\n"
        "print(json.dumps(solve(problem, Evolve(evaluations=300, population=20)).choice.tolist()))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == first


def test_warm_start_joins_the_population() -> None:
    problem = strongly_correlated(40, 6, seed=1)
    best = solve(problem, "exact")
    cold = solved(problem, Evolve(evaluations=20, population=20))
    warm = Evolve(evaluations=20, population=20)(
        problem,
        seconds=10.0,
        seed=0,
        warm=problem.position(best.require().choice),  # type: ignore[arg-type]
    )
    assert warm.choice is not None
    assert float(problem.value[warm.choice].sum()) == pytest.approx(best.value, rel=1e-12)
    assert cold.value > best.value


def test_budgets_that_clash_leave_it_without_a_selection() -> None:
    problem = quantisation(6, (2, 4, 8), share=0.0, seed=0, n_budgets=2)
    clash = problem.cost[:, :].copy()
    clash[1] = clash[1].max() - clash[1]
    least = np.minimum.reduceat(clash, problem.start[:-1], axis=1).sum(axis=1)
    problem = type(problem)(problem.value, clash, least, problem.start, problem.label)
    solution = solve(problem, Evolve(evaluations=200))
    assert solution.choice is None
    assert solution.status in (Status.UNKNOWN, Status.INFEASIBLE)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"population": 3}, "population is 3: it must be a whole number, at least 4"),
        ({"evaluations": 50}, "evaluations is 50: it must be at least the population, 100"),
    ],
)
def test_option_with_which_nothing_evolves_is_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(InvalidProblem, match=re.escape(message)):
        Evolve(**options)


def test_time_that_is_up_stops_before_newcomers_are_repaired(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock jumps past the deadline at once: only the cheapest selection needs no repair."""
    problem = quantisation(30, (2, 3, 4, 8), share=0.4, seed=0)
    ticks = iter([0.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(ticks, 1e6))
    answer = Evolve()(problem, seconds=5, seed=0, warm=None)
    assert answer.stats["generations"] == 0
    assert answer.choice is not None
    assert (problem.cost[:, answer.choice].sum(axis=1) <= problem.budget).all()
    monkeypatch.undo()
    assert solved(problem, Evolve(evaluations=100)).value < problem.value[answer.choice].sum()
