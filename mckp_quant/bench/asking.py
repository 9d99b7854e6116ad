"""Asks one solver about one problem, and keeps what it said in plain types; runs in the process of the solver."""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING

from ..common.own_code import blaming, named
from ..errors import InvalidInput, unknown
from ..solvers import InvalidProblem, Solver, SolverFailure, SolverUnavailable, Status, available, solve
from .worker import exact_value, over_budget

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..solvers import Problem, Solution
    from .worker import Record

NOT_TAKEN = "not taken"
_CLAIMS = {
    Status.OPTIMAL: "optimal",
    Status.FEASIBLE: "feasible",
    Status.INFEASIBLE: "infeasible",
    Status.UNKNOWN: "none",
}


@cache
def solver_of(spec: str) -> Solver | str:
    """The solver of a name, or of a class as ``module:Class`` or ``file.py:Class``.

    Parameters
    ----------
    spec
        The name of a solver, or a class or function that makes one when it is called without arguments.

    Returns
    -------
    solver
        What `solve` takes; made once in a process, so that finding it is not timed.

    Raises
    ------
    InvalidInput
        When there is no such solver, its package is missing, or what the class makes is no solver.
    """
    if ":" not in spec:
        known = available()
        if spec not in known:
            raise unknown("solver", spec, [*known, "your own as module:Class"])
        reason = known[spec]
        if reason is not None:
            raise InvalidInput(f"solver {spec!r} cannot run here: {reason}")
        return spec
    make = named("solver", spec, "Class")
    with blaming("solver", spec):
        made = make()
    if isinstance(made, type) or not isinstance(made, Solver):
        raise InvalidInput(
            f"solver {spec!r} made a {type(made).__name__}, which is no solver: it needs name, requires, reference, "
            "supports(problem) and __call__(problem, *, seconds, seed, warm)"
        )
    return made


def ask(spec: str, problem: Problem, seconds: float) -> Callable[[], Record]:
    """Solve once.

    Parameters
    ----------
    spec
        As for `solver_of`.
    problem
        The problem.
    seconds
        Wall time.

    Returns
    -------
    record
        Makes, when called, the record: ``claim`` (optimal, feasible, infeasible, none, refused, not taken), and where
        there is one ``value``, ``bound``, ``tolerance``, ``ground``, ``excess`` over the budgets, ``holds`` (1 where
        the certificate was rechecked), ``note``.
    """
    try:
        solution = solve(problem, solver_of(spec), seconds=seconds)
    except SolverFailure as error:
        refused = {"claim": "refused", "note": str(error)}
        return lambda: refused
    except (InvalidProblem, SolverUnavailable) as error:
        not_taken = {"claim": NOT_TAKEN, "note": str(error)}
        return lambda: not_taken
    return partial(_checked, problem, solution)


def _checked(problem: Problem, solution: Solution) -> Record:
    certificate = solution.certificate
    record: Record = {
        "claim": _CLAIMS[solution.status],
        "ground": certificate.ground,
        "holds": int(certificate.holds(problem)),
    }
    if solution.choice is not None:
        chosen = problem.position(solution.choice)
        record |= {
            "value": exact_value(problem, chosen),
            "bound": solution.bound,
            "tolerance": certificate.tolerance,
            "excess": over_budget(problem, chosen),
        }
    return record
