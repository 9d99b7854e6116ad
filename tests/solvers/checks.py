"""What must be true of every answer of every solver, checked without the project's own arithmetic."""

from __future__ import annotations

import itertools
import math
import re
from fractions import Fraction
from typing import TYPE_CHECKING

import pytest

from mckp_quant.solvers import InvalidProblem, Solution, Status, available, solve

from . import oracle

if TYPE_CHECKING:
    from mckp_quant.solvers import Certificate, Problem, Solver

GROUNDS = re.compile(r"dual gap closed|none|search exhausted \(\w+\)")

ARRAYS = ("value", "cost", "budget", "start", "label")

# The solvers under test are whatever the registry names. These do not search to the end; all others must.
INCOMPLETE = frozenset({"greedy", "relax", "monotone", "evolve"})
SOLVERS = tuple(name for name in available() if name != "pairwise")  # which takes no problem without pairs
COMPLETE = tuple(name for name in SOLVERS if name not in INCOMPLETE)

# The only reasons for which a solver may refuse a sound problem.
REFUSALS = {
    "exact": r"exact takes one budget, the problem has [2-9]: use ",
    "enumerate": r"enumerate would have to try .* selections, its limit is 1e\+06: use ",
    "cp_sat": r"cp_sat takes costs that add up to less than 2\*\*61, not ",
}

# Coefficients reach these backends as decimal digits, so what they state is coarser; what they find must not be.
WRITES_DIGITS = ("Pulp(",)


def here(solver: str) -> None:
    """Skip the test where the solver cannot run, and say why."""
    reason = available()[solver]
    if reason is not None:
        pytest.skip(f"{solver}: {reason}")


def tolerance(problem: Problem) -> float:
    """Values within this of each other count as equal across solvers: 1e-12 of the sum of |values|, group by group."""
    size = [abs(each) for each in problem.value.tolist()]
    return 1e-12 * math.fsum(max(size[low:high]) for low, high in itertools.pairwise(problem.start.tolist()))


def positions(problem: Problem, solution: Solution) -> list[int]:
    """Flat positions of the labels chosen, by looking them up one by one."""
    assert solution.choice is not None
    assert solution.choice.shape == (problem.n_groups,)
    assert solution.choice.dtype.kind == "i"
    label, start = problem.label.tolist(), problem.start.tolist()
    chosen = solution.choice.tolist()
    return [label.index(own, low, high) for own, (low, high) in zip(chosen, itertools.pairwise(start), strict=True)]


def verified(problem: Problem, solution: Solution) -> Solution:
    """The solution itself, once every claim it makes has been checked against the problem."""
    certificate = solution.certificate
    assert certificate.status is solution.status
    assert GROUNDS.fullmatch(certificate.ground)
    assert solution.budget == tuple(problem.budget.tolist())
    assert solution.seconds >= 0
    assert certificate.holds(problem)
    if solution.choice is None:
        _verify_none(problem, solution)
    else:
        _verify_choice(problem, solution)
    return solution


def _verify_none(problem: Problem, solution: Solution) -> None:
    certificate = solution.certificate
    assert solution.status in (Status.INFEASIBLE, Status.UNKNOWN)
    assert math.isnan(solution.value)
    assert math.isnan(solution.gap)
    assert math.isnan(solution.relative_gap)
    assert solution.cost == ()
    if solution.status is Status.INFEASIBLE:
        assert solution.bound == certificate.bound == math.inf
        assert len(solution.least_budget) == problem.n_resources
        assert certificate.ground.startswith("search exhausted (") or oracle.excess(problem, certificate.price) > 0
    else:
        assert certificate.ground == "none"
        _verify_bound(problem, certificate)


def _verify_choice(problem: Problem, solution: Solution) -> None:
    certificate = solution.certificate
    chosen = positions(problem, solution)
    assert solution.status in (Status.OPTIMAL, Status.FEASIBLE)
    assert solution.cost == tuple(sum(row[at] for at in chosen) for row in problem.cost.tolist())
    assert oracle.fits(solution.cost, solution.budget)
    assert solution.value == math.fsum(problem.value[at] for at in chosen)
    assert solution.least_budget == ()
    _verify_bound(problem, certificate)
    coarser = 4 if solution.solver.startswith(WRITES_DIGITS) else 1
    assert 0 <= certificate.tolerance <= coarser * tolerance(problem)
    assert solution.gap == solution.value - solution.bound
    assert solution.gap >= -certificate.tolerance
    assert solution.value >= certificate.bound
    if solution.status is Status.FEASIBLE:
        assert certificate.ground == "none"
        assert solution.bound == certificate.bound
    elif certificate.ground == "dual gap closed":
        assert solution.value - certificate.bound <= certificate.tolerance
    else:
        assert certificate.ground.startswith("search exhausted (")
        assert solution.bound == solution.value
        assert solution.relative_gap == 0


def _verify_bound(problem: Problem, certificate: Certificate) -> None:
    assert certificate.price.shape == (problem.n_resources,)
    assert (certificate.price >= 0).all()
    assert math.isfinite(certificate.bound)
    assert Fraction(certificate.bound) <= oracle.dual(problem, certificate.price)


def solved(problem: Problem, solver: Solver | str, *, seed: int = 0, seconds: float = 60.0) -> Solution:
    """Solve and verify."""
    return verified(problem, solve(problem, solver, seed=seed, seconds=seconds))


def solved_or_refused(problem: Problem, solver: Solver | str, *, seconds: float = 60.0) -> Solution | None:
    """Solve and verify; None where the solver refuses the problem, in words that it may use."""
    try:
        return solved(problem, solver, seconds=seconds)
    except InvalidProblem as error:
        refusal = str(error)
    name = solver if isinstance(solver, str) else solver.name
    assert name in REFUSALS, refusal
    assert re.match(REFUSALS[name], refusal)
    return None


def agrees(problem: Problem, solution: Solution, best: float | None) -> None:
    """Assert that a complete solver's verified answer is the oracle's."""
    if best is None:
        assert solution.status is Status.INFEASIBLE
        return
    assert solution.status is Status.OPTIMAL, solution.status.value
    assert best <= solution.value <= best + tolerance(problem)
    assert solution.certificate.bound <= best
