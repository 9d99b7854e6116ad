"""Multiple-choice knapsack problems: one problem, interchangeable solvers, every answer recomputed and certified.

The names in `__all__` are the public surface. Nothing of networks, layers or formats may come in: this folder works
when it is copied into another project.
"""

from __future__ import annotations

if __name__ != "mckp_quant.solvers":
    raise ImportError(
        f"this package is mckp_quant.solvers, but it was imported as {__name__!r}: "
        "use 'from mckp_quant import solvers' (a second name would make a second set of classes)"
    )

from .answer import Answer, Solver, Status
from .backends.cp_sat import CpSat
from .backends.highs import Highs
from .backends.pulp_milp import Pulp
from .backends.scip import Scip
from .chains.solver import Monotone
from .errors import InvalidInput, InvalidProblem, NoSolution, PackageMissing, SolverFailure, SolverUnavailable
from .front_door import available, solve
from .kernels.dispatch import is_compiled
from .methods.evolve import Evolve
from .methods.exact import Enumerate, Exact
from .methods.greedy import Greedy
from .methods.relax import Relax
from .pairwise.solver import Pairwise
from .problem.files import read_problem, write_problem
from .problem.pairs import Pairs
from .problem.problem import Problem
from .problem.rows import Rows
from .questions.batching import solve_many
from .questions.cheapest import LeastCost, least_cost
from .questions.draws import best_choices
from .questions.explanation import Explanation, Worth, explain
from .questions.pareto import Front, front
from .questions.ranking import k_best
from .questions.resolving import Resolved, resolve
from .questions.shortfall import Shortfall
from .solution import Certificate, Solution
from .watching import SearchProgress

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
    "InvalidInput",
    "InvalidProblem",
    "LeastCost",
    "Monotone",
    "NoSolution",
    "PackageMissing",
    "Pairs",
    "Pairwise",
    "Problem",
    "Pulp",
    "Relax",
    "Resolved",
    "Rows",
    "Scip",
    "SearchProgress",
    "Shortfall",
    "Solution",
    "Solver",
    "SolverFailure",
    "SolverUnavailable",
    "Status",
    "Worth",
    "available",
    "best_choices",
    "explain",
    "front",
    "is_compiled",
    "k_best",
    "least_cost",
    "read_problem",
    "resolve",
    "solve",
    "solve_many",
    "write_problem",
]
