"""Multiple-choice knapsack problems: one problem, interchangeable solvers, every answer recomputed and certified."""

from __future__ import annotations

if __name__ != "mckp_quant.solvers":
    raise ImportError(
        f"this package is mckp_quant.solvers, but it was imported as {__name__!r}: "
        "use 'from mckp_quant import solvers' (a second name would make a second set of classes)"
    )

from ._solve import available, solve
from .backends.cp_sat import CpSat
from .backends.highs import Highs
from .backends.pulp_milp import Pulp
from .backends.scip import Scip
from .dual import LeastCost, least_cost
from .errors import InvalidProblem, NoSolution, SolverFailure, SolverUnavailable
from .evolve import Evolve
from .exact import Enumerate, Exact
from .explanation import Explanation, Worth, explain
from .files import read_problem, write_problem
from .greedy import Greedy
from .monotone import Monotone
from .pairs import Pairs
from .pairwise import Pairwise
from .pareto import Front, front
from .problem import Problem
from .ranking import k_best
from .relax import Relax
from .resolving import Resolved, resolve
from .rows import Rows
from .shortfall import Shortfall
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
    "Pairs",
    "Pairwise",
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
