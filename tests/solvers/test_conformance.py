"""Every solver of the registry against every small problem: whoever registers a solver gets these tests for nothing."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings

from mckp_quant.solvers import (
    CpSat,
    Enumerate,
    Exact,
    Greedy,
    Highs,
    InvalidProblem,
    NoSolution,
    Problem,
    Pulp,
    Solver,
    Status,
    available,
    solve,
)
from mckp_quant.solvers.errors import missing

from . import oracle
from .checks import ARRAYS, COMPLETE, SOLVERS, agrees, here, solved, solved_or_refused, tolerance, verified
from .drawn import problems
from .families import quantisation, strongly_correlated, subset_sum, zigzag
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
    problem, best = GOLDEN[name]
    solution = solved_or_refused(problem, solver)
    if solution is None:
        return
    if solver in COMPLETE or solver == "auto":
        agrees(problem, solution, best)
        assert solution.value == best or best is None
    elif best is None:
        assert solution.choice is None
    else:
        assert solution.status is Status.UNKNOWN or solution.value >= best
    if solution.status is Status.INFEASIBLE:
        assert solution.least_budget == oracle.least_budgets(problem)
        with pytest.raises(NoSolution, match=r"no selection is within every budget; budget\[0\] = -?\d+: "):
            solution.require()


@every_solver
@given(problem=problems(max_budgets=3, max_groups=5, max_choices=4))
@settings(max_examples=60)
def test_every_answer_is_what_it_says(solver: str, problem: Problem) -> None:
    runs(solver)
    before = [getattr(problem, name).copy() for name in ARRAYS]
    solution = solved_or_refused(problem, solver)
    for name, copy in zip(ARRAYS, before, strict=True):
        assert getattr(problem, name).tolist() == copy.tolist()
    if solution is None:
        return
    best = oracle.optimum(problem)
    if best is None:
        assert solution.choice is None
    else:
        assert solution.status is not Status.INFEASIBLE
        assert solution.certificate.bound <= best
        assert solution.bound <= best + tolerance(problem)
    if problem.n_resources == 1 and solver != "monotone":
        assert solution.status is not Status.UNKNOWN
    if solution.status is Status.OPTIMAL:
        agrees(problem, solution, best)


@every_solver
@given(problem=problems(max_budgets=2, max_groups=5, max_choices=4))
@settings(max_examples=30)
def test_certificate_with_its_bound_raised_is_refused(solver: str, problem: Problem) -> None:
    runs(solver)
    solution = solved_or_refused(problem, solver)
    if solution is None:
        return
    own = solution.certificate
    if own.status is Status.INFEASIBLE:
        if own.ground != "search exhausted":
            assert not dataclasses.replace(own, price=0 * own.price).holds(problem)
        return
    proved = oracle.dual(problem, own.price)
    above = float(proved)
    above = above if Fraction(above) > proved else math.nextafter(above, math.inf)
    for bound in (above, above + abs(above) + 1e-9, math.inf, math.nan):
        assert not dataclasses.replace(own, bound=bound).holds(problem)
    for price in (-1 - own.price, own.price * math.nan, own.price + math.inf, np.append(own.price, 0.0), own.price[1:]):
        assert not dataclasses.replace(own, price=price).holds(problem)


@every_solver
@given(problem=problems(max_budgets=2, max_groups=6, max_choices=4))
@settings(max_examples=15)
def test_same_call_gives_the_same_answer(solver: str, problem: Problem) -> None:
    runs(solver)
    first, second = solved_or_refused(problem, solver), solved_or_refused(problem, solver)
    if first is None or second is None:
        assert first is second
        return
    assert repr(first.choice) == repr(second.choice)
    assert first.status is second.status
    assert first.certificate.price.tolist() == second.certificate.price.tolist()
    assert first.certificate.bound == second.certificate.bound


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
    for problem in (strongly_correlated(8, 4, seed=1), quantisation(12, (2, 4, 8), share=0.5, seed=2, n_budgets=2)):
        solution = solved_or_refused(problem, solver, seconds=seconds)
        assert solution is None or solution.status is not Status.INFEASIBLE


@every_solver
@pytest.mark.parametrize("seed", [1, 2**31, 2**63 - 1])
def test_any_seed_that_is_no_negative_number_is_taken(solver: str, seed: int) -> None:
    runs(solver)
    problem = strongly_correlated(5, 4, seed=3)
    assert verified(problem, solve(problem, solver, seed=seed)).seed == seed


@pytest.mark.parametrize("solver", RAW, ids=lambda solver: solver.name)
@given(problem=problems(max_budgets=2, max_groups=4, max_choices=4))
@settings(max_examples=40)
def test_raw_backend_is_believed_only_where_the_bound_agrees(solver: Solver, problem: Problem) -> None:
    here(solver.name)
    solution = solved_or_refused(problem, solver)
    assert solution is not None
    best = oracle.optimum(problem)
    assert solution.certificate.ground != "search exhausted"
    if solution.status is Status.OPTIMAL:
        agrees(problem, solution, best)
    if solution.choice is not None:
        assert best is not None
        assert solution.value >= best
        assert isinstance(solution.stats["claimed"], str)
    if solution.status is Status.INFEASIBLE:
        assert best is None


FAMILIES = {
    "strongly correlated": strongly_correlated(10, 5, seed=0),
    "subset sum": subset_sum(9, 4, seed=0),
    "zigzag": zigzag(10, 5, seed=0),
    "quantisation": quantisation(20, (2, 3, 4, 8), share=0.3, seed=0),
    "two budgets": quantisation(8, (2, 4, 8), share=0.5, seed=1, n_budgets=2),
    "three budgets": quantisation(8, (2, 4, 8), share=0.4, seed=2, n_budgets=3),
}


@pytest.mark.parametrize("family", FAMILIES)
@every_complete
def test_families_are_solved_to_the_oracles_optimum(solver: str, family: str) -> None:
    runs(solver)
    problem = FAMILIES[family]
    solution = solved_or_refused(problem, solver)
    if solution is not None:
        agrees(problem, solution, oracle.optimum(problem))


@every_solver
@pytest.mark.parametrize("size", [1e307, 1.7e308])
def test_values_at_the_end_of_float64_are_answered_or_refused(solver: str, size: float) -> None:
    runs(solver)
    for table in ([[size, 0.0], [size, 0.0]], [[size, -size], [size, -size]], [[size, size / 2]] * 4):
        refusal = ""
        try:
            problem = Problem.from_table(table, [[0, 1]] * len(table), 1)
        except InvalidProblem as error:
            refusal = str(error)
        else:
            solved(problem, solver)
        assert not refusal or re.search(r"value.* beyond the range of float64", refusal)


def test_registry_and_public_classes_are_the_same_solvers() -> None:
    classes: tuple[Solver, ...] = (Exact(), Greedy(), Enumerate(), CpSat(), Highs(), Pulp())
    assert {solver.name for solver in classes} <= set(SOLVERS)
    for solver in classes:
        assert isinstance(solver, Solver)
        assert len(solver.reference) > 5
        assert available()[solver.name] == (None if solver.requires is None else missing(solver.requires))
        if available()[solver.name] is None:
            problem = FAMILIES["quantisation" if solver.name != "enumerate" else "two budgets"]
            assert repr(solve(problem, solver).choice) == repr(solve(problem, solver.name).choice)
