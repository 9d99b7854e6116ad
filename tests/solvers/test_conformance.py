"""Every solver of the registry against every small problem: whoever registers a solver gets these tests for nothing."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import pytest
from hypothesis import given, settings

from mckp_quant.solvers import CpSat, Enumerate, Exact, Greedy, Highs, Problem, Pulp, Solver, Status, available, solve
from mckp_quant.solvers.errors import missing

from . import conformance, oracle
from .checks import ARRAYS, COMPLETE, SOLVERS, agrees, here, solved, solved_or_refused
from .drawn import problems
from .families import strongly_correlated
from .golden import GOLDEN

every_solver = pytest.mark.parametrize("solver", [*SOLVERS, "auto"])
every_complete = pytest.mark.parametrize("solver", [*COMPLETE, "auto"])
RAW: tuple[Solver, ...] = (CpSat(reduce=False), Highs(reduce=False), Pulp(reduce=False))


def runs(solver: str) -> None:
    if solver != "auto":
        here(solver)


@pytest.mark.parametrize("name", GOLDEN)
@every_solver
def test_golden_problems_are_answered_right(solver: str, name: str) -> None:
    runs(solver)
    conformance.answers_golden_problem(solver, name, complete=solver in COMPLETE or solver == "auto")


@every_solver
@given(problem=problems(max_budgets=3, max_groups=5, max_choices=4))
@settings(max_examples=60)
def test_every_answer_is_what_it_says(solver: str, problem: Problem) -> None:
    runs(solver)
    conformance.answer_is_what_it_says(solver, problem, always_finds=solver != "monotone")


@every_solver
@given(problem=problems(max_budgets=2, max_groups=5, max_choices=4))
@settings(max_examples=30)
def test_certificate_with_its_bound_raised_is_refused(solver: str, problem: Problem) -> None:
    runs(solver)
    conformance.tampered_certificate_is_refused(solver, problem)


@every_solver
@given(problem=problems(max_budgets=2, max_groups=6, max_choices=4))
@settings(max_examples=15)
def test_same_call_gives_the_same_answer(solver: str, problem: Problem) -> None:
    runs(solver)
    conformance.same_call_gives_the_same_answer(solver, problem)


IN_ANOTHER_PROCESS = """
import json, sys
from mckp_quant.solvers import Problem, solve
problem = Problem(**json.load(sys.stdin))
for solver in sys.argv[1:]:
    print(json.dumps(solve(problem, solver, seed=7).choice.tolist()))
"""


def test_another_process_gives_the_same_selection() -> None:
    solvers = ["exact", "cp_sat"]
    for name in solvers:
        here(name)
    problem = strongly_correlated(12, 5, seed=4)
    arrays = {name: getattr(problem, name).tolist() for name in ARRAYS}
    command = [sys.executable, "-c", IN_ANOTHER_PROCESS, *solvers]
    done = subprocess.run(command, input=json.dumps(arrays), capture_output=True, text=True, check=True)
    for name, line in zip(solvers, done.stdout.splitlines(), strict=True):
        solution = solved(problem, name, seed=7)
        assert solution.choice is not None
        assert solution.stats["core_groups"] > 0
        assert json.loads(line) == solution.choice.tolist()


@every_solver
@pytest.mark.parametrize("seconds", [1e-9, math.inf])
def test_no_time_and_all_time_give_an_honest_answer(solver: str, seconds: float) -> None:
    runs(solver)
    conformance.is_honest_whatever_the_time(solver, seconds)


@every_solver
@pytest.mark.parametrize("seed", [1, 2**31, 2**63 - 1])
def test_any_seed_that_is_no_negative_number_is_taken(solver: str, seed: int) -> None:
    runs(solver)
    conformance.takes_seed(solver, seed)


@pytest.mark.parametrize("solver", RAW, ids=lambda solver: solver.name)
@given(problem=problems(max_budgets=2, max_groups=4, max_choices=4))
@settings(max_examples=40)
def test_raw_backend_is_believed_only_where_the_bound_agrees(solver: Solver, problem: Problem) -> None:
    here(solver.name)
    solution = solved_or_refused(problem, solver)
    assert solution is not None
    best = oracle.optimum(problem)
    assert not solution.certificate.ground.startswith("search exhausted")
    if solution.status is Status.OPTIMAL:
        agrees(problem, solution, best)
    if solution.choice is not None:
        assert best is not None
        assert solution.value >= best
        assert isinstance(solution.stats["claimed"], str)
    if solution.status is Status.INFEASIBLE:
        assert best is None


@pytest.mark.parametrize("family", conformance.FAMILIES)
@every_complete
def test_families_are_solved_to_the_oracles_optimum(solver: str, family: str) -> None:
    runs(solver)
    conformance.solves_family(solver, family)


@every_solver
@pytest.mark.parametrize("size", [1e307, 1.7e308])
def test_values_at_the_end_of_float64_are_answered_or_refused(solver: str, size: float) -> None:
    runs(solver)
    conformance.answers_or_refuses_values(solver, size)


def test_registry_and_public_classes_are_the_same_solvers() -> None:
    classes: tuple[Solver, ...] = (Exact(), Greedy(), Enumerate(), CpSat(), Highs(), Pulp())
    assert {solver.name for solver in classes} <= set(SOLVERS)
    for solver in classes:
        assert isinstance(solver, Solver)
        assert len(solver.reference) > 5
        assert available()[solver.name] == (None if solver.requires is None else missing(solver.requires))
        if available()[solver.name] is None:
            problem = conformance.FAMILIES["quantisation" if solver.name != "enumerate" else "two budgets"]
            assert repr(solve(problem, solver).choice) == repr(solve(problem, solver.name).choice)
