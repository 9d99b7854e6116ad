"""Multiple-choice knapsack problems: one problem, interchangeable solvers, every answer recomputed and certified."""

from __future__ import annotations

if __name__ != "mckp_quant.solvers":
    raise ImportError(
        f"this package is mckp_quant.solvers, but it was imported as {__name__!r}: "
        "use 'from mckp_quant import solvers' (a second name would make a second set of classes)"
    )

from ._solve import available, solve
from .cp_sat import CpSat
from .dual import LeastCost, least_cost
from .errors import InvalidProblem, NoSolution, SolverFailure, SolverUnavailable
from .evolve import Evolve
from .exact import Enumerate, Exact
from .explanation import Explanation, Shortfall, Worth, explain
from .files import read_problem, write_problem
from .greedy import Greedy
from .highs import Highs
from .monotone import Monotone
from .pareto import Front, front
from .problem import Problem
from .pulp_milp import Pulp
from .ranking import k_best
from .relax import Relax
from .resolving import Resolved, resolve
from .rows import Rows
from .scip import Scip
from .solution import Answer, Certificate, Solution, Solver, Status

__all__ = [
    "Answer",
    "Certificate",
    "CpSat",
    "Enumerate",
    "Evolve",
    "Exact",
    "Explanation",
    "Front",
    "Greedy",
    "Highs",
    "InvalidProblem",
    "LeastCost",
    "Monotone",
    "NoSolution",
    "Problem",
    "Pulp",
    "Relax",
    "Resolved",
    "Rows",
    "Scip",
    "Shortfall",
    "Solution",
    "Solver",
    "SolverFailure",
    "SolverUnavailable",
    "Status",
    "Worth",
    "available",
    "explain",
    "front",
    "k_best",
    "least_cost",
    "read_problem",
    "resolve",
    "solve",
    "write_problem",
]
