"""Digests of every solver's answers on fixed problems: they show whether a rewrite has changed anything.

`digests.json` beside this file was written by the command below. A digest covers the selection, its status and the
ground of its certificate, never times or counts. Rewrite the file only in a commit that is meant to change answers,
and look at the differences: another version of a backend may choose another one of several equally good selections.

    python -m tests.solvers.test_digests
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.metadata
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mckp_quant.solvers import (
    InvalidProblem,
    Pairs,
    Problem,
    Rows,
    available,
    explain,
    front,
    instances,
    k_best,
    least_cost,
    resolve,
    solve,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mckp_quant.solvers import Solution

FILE = Path(__file__).with_name("digests.json")
CONSTRAINTS = Path(__file__).parents[2] / "constraints.txt"
PACKAGES = {"cp_sat": "ortools", "highs": "scipy", "pulp": "pulp", "scip": "pyscipopt"}
BITS = (2, 3, 4, 6, 8)
CLASSICS = ("uncorrelated", "weakly_correlated", "strongly_correlated", "subset_sum", "zigzag")


def _problems() -> Iterator[tuple[str, Problem]]:
    for name in CLASSICS:
        yield name, getattr(instances, name)(9, 4, seed=1)
    for n_budgets in (1, 2, 3):
        for n_groups in (5, 10):
            yield f"several_budgets {n_groups}, {n_budgets}", instances.several_budgets(n_groups, 4, n_budgets, seed=2)
        for share in (0.0, 0.4):
            layers = instances.lognormal(8, seed=3)
            problem = instances.quantisation(layers, BITS, share=share, seed=4, n_budgets=n_budgets)
            yield f"lognormal {share}, {n_budgets}", problem
    yield "resnet50", instances.quantisation(instances.resnet50(), BITS, seed=5)
    yield "llm", instances.quantisation(instances.llm(28), BITS, share=0.4, seed=6)
    yield (
        "published form",
        instances.mmkp([[5, 9, 2], [7, 1, 8]], [[[1, 4], [3, 2], [0, 1]], [[2, 2], [0, 0], [4, 1]]], [5, 4]),
    )
    small = instances.uncorrelated(6, 4, seed=7)
    yield "too little", small.with_budget(small.least_cost[0] - 1)
    # Each budget by itself can be met, the two together only by fractions of choices.
    yield "infeasible together", Problem.from_table([[0.0, 0.0]], [[[2, 0]], [[0, 2]]], [1, 1])
    rows = Rows(
        indptr=np.array([0, 2, 4]),
        indices=np.array([0, 4, 9, 13]),
        coefficients=np.array([1, 1, 1, -1]),
        lower=np.array([0, 0]),
        upper=np.array([1, 0]),
    )
    yield "with rows", dataclasses.replace(small, rows=rows)
    rng = np.random.default_rng(8)
    first, second = np.arange(0, 12), np.arange(12, 24)
    yield "with pairs", dataclasses.replace(small, pairs=Pairs(first, second, rng.integers(-300, 300, 12) / 4.0))


PROBLEMS = dict(_problems())
SOLVERS = ("auto", *available())


def digest(*parts: Any) -> str:
    """Sixteen hexadecimal digits of plain data."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def rounded(number: float | None) -> str | None:
    """Nine digits: the rest may depend on the machine."""
    return None if number is None else f"{number:.9g}"


def labels(solution: Solution) -> list[int] | None:
    return None if solution.choice is None else solution.choice.tolist()


def ground(solution: Solution) -> str:
    """What the proof rests on; not whose search it was."""
    return solution.certificate.ground.partition(" (")[0]


@functools.cache
def solved(name: str) -> Solution:
    return solve(PROBLEMS[name])


def of_solution(solution: Solution) -> str:
    return digest(labels(solution), solution.status.name, ground(solution), solution.least_budget)


def of_solver(solver: str) -> dict[str, str]:
    """One digest for each problem; "refused" where the solver does not take it."""
    found = {}
    for name, problem in PROBLEMS.items():
        try:
            found[name] = of_solution(solve(problem, solver, seed=11))
        except InvalidProblem:
            found[name] = "refused"
    return found


def of_front(name: str) -> str:
    points, thinned = front(PROBLEMS[name]), front(PROBLEMS[name], max_points=5)
    shown = [0, len(points) // 2, -1] if len(points) else []
    return digest(
        points.cost.tolist(),
        [rounded(each) for each in points.value.tolist()],
        [points.choice(at).tolist() for at in shown],
        thinned.cost.tolist(),
        rounded(thinned.error),
    )


def of_ranking(name: str) -> str:
    return digest([[labels(each), each.status.name, ground(each)] for each in k_best(PROBLEMS[name], 4)])


def of_least_cost(name: str) -> str:
    problem, solution = PROBLEMS[name], solved(name)
    if solution.choice is None:
        return "infeasible"
    worse = solution.value + 0.1 * abs(solution.value)
    least = least_cost(problem, worse)
    return digest(least.cost, labels(least.solution), least.proved)


def of_explanation(name: str) -> str:
    told = explain(PROBLEMS[name], solved(name))
    worths = [
        [each.budget, each.used, rounded(each.price), each.next_budget, rounded(each.saving)] for each in told.worths
    ]
    shortfalls = [dataclasses.astuple(each) for each in told.shortfalls]
    return digest(told.status.name, worths, shortfalls, str(told.least_factor))


def of_resolving(name: str) -> str:
    problem, solution = PROBLEMS[name], solved(name)
    if solution.choice is None:
        return "infeasible"
    tighter = problem.with_budget(
        [(limit + least) // 2 for limit, least in zip(problem.budget.tolist(), problem.least_cost, strict=True)]
    )
    again = resolve(tighter, solution)
    return digest(again.moved.tolist(), again.before.tolist(), again.after.tolist())


QUESTIONS = {
    "front": of_front,
    "k_best": of_ranking,
    "least_cost": of_least_cost,
    "explain": of_explanation,
    "resolve": of_resolving,
}


def of_question(question: str) -> dict[str, str]:
    """One digest for each problem that the question can be asked of."""
    found = {}
    for name in PROBLEMS:
        try:
            found[name] = QUESTIONS[question](name)
        except InvalidProblem:
            found[name] = "refused"
    return found


@pytest.fixture(scope="module")
def kept() -> dict[str, dict[str, str]]:
    digests: dict[str, dict[str, str]] = json.loads(FILE.read_text(encoding="utf-8"))
    return digests


@pytest.mark.parametrize("solver", SOLVERS)
def test_solver_answers_as_it_did(solver: str, kept: dict[str, dict[str, str]]) -> None:
    reason = available().get(solver)
    if reason is not None:
        pytest.skip(f"{solver}: {reason}")
    package = PACKAGES.get(solver)
    if (
        package is not None
        and f"{package}=={importlib.metadata.version(package)}" not in CONSTRAINTS.read_text().split()
    ):
        pytest.skip(f"{package} is another version than the digests are of: it may choose another of equal selections")
    assert of_solver(solver) == kept[solver]


@pytest.mark.parametrize("question", QUESTIONS)
def test_question_is_answered_as_it_was(question: str, kept: dict[str, dict[str, str]]) -> None:
    assert of_question(question) == kept[question]


if __name__ == "__main__":
    solvers = [name for name in SOLVERS if available().get(name) is None]
    digests = {name: of_solver(name) for name in solvers} | {name: of_question(name) for name in QUESTIONS}
    FILE.write_text(json.dumps(digests, indent=1) + "\n", encoding="utf-8")
