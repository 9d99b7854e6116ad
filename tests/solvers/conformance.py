"""What every solver must do, as checks that any solver can be given: one of the registry by name, or an object."""

from __future__ import annotations

import dataclasses
import math
import re
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mckp_quant.solvers import InvalidProblem, NoSolution, Problem, Status, solve

from . import oracle
from .checks import ARRAYS, agrees, solved, solved_or_refused, tolerance, verified
from .families import quantisation, strongly_correlated, subset_sum, zigzag
from .golden import GOLDEN

if TYPE_CHECKING:
    from mckp_quant.solvers import Solver

FAMILIES = {
    "strongly correlated": strongly_correlated(10, 5, seed=0),
    "subset sum": subset_sum(9, 4, seed=0),
    "zigzag": zigzag(10, 5, seed=0),
    "quantisation": quantisation(20, (2, 3, 4, 8), share=0.3, seed=0),
    "two budgets": quantisation(8, (2, 4, 8), share=0.5, seed=1, n_budgets=2),
    "three budgets": quantisation(8, (2, 4, 8), share=0.4, seed=2, n_budgets=3),
}


def answers_golden_problem(solver: Solver | str, name: str, *, complete: bool) -> None:
    """The known answer from a complete solver, and nothing better than it from any other."""
    problem, best = GOLDEN[name]
    solution = solved_or_refused(problem, solver)
    if solution is None:
        return
    if complete:
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


def answer_is_what_it_says(solver: Solver | str, problem: Problem, *, always_finds: bool = True) -> None:
    """Every claim holds against brute force, and the problem is left as it was.

    `always_finds`: with a single budget the solver comes home with a selection wherever there is one.
    """
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
    if problem.n_resources == 1 and always_finds:
        assert solution.status is not Status.UNKNOWN
    if solution.status is Status.OPTIMAL:
        agrees(problem, solution, best)


def tampered_certificate_is_refused(solver: Solver | str, problem: Problem) -> None:
    """A bound above what the price proves, or a price that is none, does not pass `Certificate.holds`."""
    solution = solved_or_refused(problem, solver)
    if solution is None:
        return
    own = solution.certificate
    if own.status is Status.INFEASIBLE:
        if not own.ground.startswith("search exhausted"):
            assert not dataclasses.replace(own, price=0 * own.price).holds(problem)
        return
    proved = oracle.dual(problem, own.price)
    above = float(proved)
    above = above if Fraction(above) > proved else math.nextafter(above, math.inf)
    for bound in (above, above + abs(above) + 1e-9, math.inf, math.nan):
        assert not dataclasses.replace(own, bound=bound).holds(problem)
    for price in (-1 - own.price, own.price * math.nan, own.price + math.inf, np.append(own.price, 0.0), own.price[1:]):
        assert not dataclasses.replace(own, price=price).holds(problem)


def same_call_gives_the_same_answer(solver: Solver | str, problem: Problem) -> None:
    """Selection, status, price and bound, twice."""
    first, second = solved_or_refused(problem, solver), solved_or_refused(problem, solver)
    if first is None or second is None:
        assert first is second
        return
    assert repr(first.choice) == repr(second.choice)
    assert first.status is second.status
    assert first.certificate.price.tolist() == second.certificate.price.tolist()
    assert first.certificate.bound == second.certificate.bound


def is_honest_whatever_the_time(solver: Solver | str, seconds: float) -> None:
    """No time and all time are no reason to call a feasible problem infeasible."""
    for problem in (strongly_correlated(8, 4, seed=1), quantisation(12, (2, 4, 8), share=0.5, seed=2, n_budgets=2)):
        solution = solved_or_refused(problem, solver, seconds=seconds)
        assert solution is None or solution.status is not Status.INFEASIBLE


def takes_seed(solver: Solver | str, seed: int) -> None:
    """The seed is taken, and is on the record."""
    problem = strongly_correlated(5, 4, seed=3)
    assert verified(problem, solve(problem, solver, seed=seed)).seed == seed


def solves_family(solver: Solver | str, family: str) -> None:
    """The optimum of the oracle, from a complete solver."""
    problem = FAMILIES[family]
    solution = solved_or_refused(problem, solver)
    if solution is not None:
        agrees(problem, solution, oracle.optimum(problem))


def answers_or_refuses_values(solver: Solver | str, size: float) -> None:
    """Values at the end of float64 are answered, or refused as such when the problem is built."""
    for table in ([[size, 0.0], [size, 0.0]], [[size, -size], [size, -size]], [[size, size / 2]] * 4):
        refusal = ""
        try:
            problem = Problem.from_table(table, [[0, 1]] * len(table), 1)
        except InvalidProblem as error:
            refusal = str(error)
        else:
            solved(problem, solver)
        assert not refusal or re.search(r"value.* beyond the range of float64", refusal)
