"""Multiple-choice knapsack problems: one problem, interchangeable solvers, every answer recomputed and certified."""

from __future__ import annotations

if __name__ != "mckp_quant.solvers":
    raise ImportError(
        f"this package is mckp_quant.solvers, but it was imported as {__name__!r}: "
        "use 'from mckp_quant import solvers' (a second name would make a second set of classes)"
    )

from ._solve import available, solve
from .cp_sat import CpSat
from .errors import InvalidProblem, NoSolution, SolverFailure, SolverUnavailable
from .exact import Enumerate, Exact
from .greedy import Greedy
from .highs import Highs
from .problem import Problem
from .pulp_milp import Pulp
from .solution import Answer, Certificate, Solution, Solver, Status

__all__ = [
    "Answer",
    "Certificate",
    "CpSat",
    "Enumerate",
    "Exact",
    "Greedy",
    "Highs",
    "InvalidProblem",
    "NoSolution",
    "Problem",
    "Pulp",
    "Solution",
    "Solver",
    "SolverFailure",
    "SolverUnavailable",
    "Status",
    "available",
    "solve",
]
