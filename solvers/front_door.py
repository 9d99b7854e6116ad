"""The front door: finds the solver, checks the arguments, calls it, recomputes its answer and certifies it."""

from __future__ import annotations

import dataclasses
import difflib
import math
import time
from typing import TYPE_CHECKING

import numpy as np

from .answer import Answer, Solver, Status
from .backends.cp_sat import CpSat
from .backends.highs import Highs
from .backends.pulp_milp import Pulp
from .backends.scip import Scip
from .calling import call
from .certify import certificate_of, certify_infeasible, total_value
from .chains.solver import Monotone
from .errors import InvalidProblem, missing
from .methods.evolve import Evolve
from .methods.exact import Enumerate, Exact
from .methods.greedy import Greedy
from .methods.relax import Relax
from .pairwise.solver import Pairwise
from .problem.arguments import check_seconds, check_seed
from .problem.arrays import INT64_MAX
from .problem.problem import Problem
from .solution import GROUND_NONE, GROUND_SEARCH, UNPROVED_LEAST, Certificate, Solution

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

_LEAST_BUDGET_SECONDS = 60.0  # at most, for all least budgets of an infeasible problem together
_LEAST_SHARE = 0.1  # seconds that the least budget of each resource gets at least

SOLVERS: dict[str, Callable[[], Solver]] = {
    "exact": Exact,
    "greedy": Greedy,
    "enumerate": Enumerate,
    "relax": Relax,
    "monotone": Monotone,
    "evolve": Evolve,
    "cp_sat": CpSat,
    "highs": Highs,
    "pulp": Pulp,
    "scip": Scip,
    "pairwise": Pairwise,
}

_MANY_BUDGETS = 16  # such as the steps of a peak: state lists grow with each of them, cuts of a general solver do not


def solve(
    problem: Problem,
    solver: Solver | str = "auto",
    *,
    seconds: float = 60.0,
    seed: int = 0,
    warm: ArrayLike | None = None,
) -> Solution:
    """Solve a problem, recompute the answer in exact integers, and certify it.

    Parameters
    ----------
    problem
        The problem.
    solver
        ``"auto"`` (exact; SCIP or else HiGHS for more than 16 budgets, CP-SAT where there are further rows, pairwise
        where there are pairs), the name of a solver, or a solver with its options, such as ``Exact(max_states=10**6)``.
    seconds
        Wall time that the solver may take; where the problem is infeasible, the search for the least budgets that work
        may take as much again.
    seed
        Seed of whatever the solver draws; where no limit is hit, the same call gives the same selection.
    warm
        ``(n_groups,)`` labels of a selection to start from; where it is within the budgets, the answer is no worse.

    Returns
    -------
    solution
        Selection, exact costs, status, bound and certificate. An infeasible problem is an answer too.

    Raises
    ------
    InvalidProblem
        When the solver does not exist or cannot take the problem, or an argument makes no sense.
    SolverUnavailable
        When the solver needs a package that is not installed.
    SolverFailure
        When a backend crashes, or returns what is not a selection within the budgets and rows.
    """
    started = time.perf_counter()
    if not isinstance(problem, Problem):
        raise InvalidProblem(f"problem is a {type(problem).__name__}: build a Problem first (Problem.from_table)")
    check_seconds(seconds)
    check_seed(seed)
    seed = int(seed)
    chosen = _named(solver, problem)
    start = None if warm is None else problem.position(warm)
    reason = chosen.supports(problem)
    if reason is not None:
        raise InvalidProblem(reason)

    certificate, answer = _certified(problem, chosen, seconds, seed, start)
    least, doubtful = _least_budgets(problem, seconds) if certificate.status is Status.INFEASIBLE else ((), [])
    if doubtful:
        answer = dataclasses.replace(answer, stats={**answer.stats, UNPROVED_LEAST: doubtful})
    return _solution(problem, certificate, answer, chosen, seed, time.perf_counter() - started, least)


def available() -> dict[str, str | None]:
    """Every solver: None where it can run here, or the reason why it cannot."""
    return {name: missing(make().requires or "numpy") for name, make in SOLVERS.items()}


def _named(solver: Solver | str, problem: Problem) -> Solver:
    if solver == "auto":
        if problem.pairs is not None:
            return Pairwise()
        if problem.rows is None and problem.n_resources > _MANY_BUDGETS:
            return Scip() if missing("pyscipopt") is None else Highs()
        exact = Exact()
        return exact if exact.supports(problem) is None else CpSat()
    if not isinstance(solver, str):
        if isinstance(solver, type) or not isinstance(solver, Solver):
            raise InvalidProblem(
                f"solver is {solver!r}: give a name ({', '.join(SOLVERS)}) or a solver such as Exact()"
            )
        return solver
    if solver not in SOLVERS:
        near = difflib.get_close_matches(solver.casefold().replace("-", "_"), SOLVERS, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise InvalidProblem(f"unknown solver {solver!r}: {hint}known are: auto, {', '.join(SOLVERS)}")
    return SOLVERS[solver]()


def _certified(
    problem: Problem, solver: Solver, seconds: float, seed: int, warm: NDArray[np.int64] | None
) -> tuple[Certificate, Answer]:
    if any(least > limit for least, limit in zip(problem.least_cost, problem.budget.tolist(), strict=True)):
        return certify_infeasible(problem, GROUND_NONE), Answer(None)
    answer = call(problem, solver, seconds, seed, warm)
    return certificate_of(problem, answer, solver.name, witness=type(solver) not in SOLVERS.values()), answer


def _solution(
    problem: Problem,
    certificate: Certificate,
    answer: Answer,
    solver: Solver,
    seed: int,
    seconds: float,
    least_budget: tuple[int | None, ...],
) -> Solution:
    if answer.choice is None:
        return Solution(
            choice=None,
            value=math.nan,
            cost=(),
            budget=tuple(problem.budget.tolist()),
            status=certificate.status,
            bound=certificate.bound,
            certificate=certificate,
            solver=repr(solver),
            seed=seed,
            seconds=seconds,
            stats={**answer.stats, **answer.figures},
            least_budget=least_budget,
            reason=answer.reason,
        )
    value = total_value(problem, answer.choice)
    exhausted = certificate.status is Status.OPTIMAL and certificate.ground == GROUND_SEARCH
    return Solution(
        choice=problem.label[answer.choice],
        value=value,
        cost=tuple(int(used) for used in problem.cost[:, answer.choice].sum(axis=1)),
        budget=tuple(problem.budget.tolist()),
        status=certificate.status,
        bound=value if exhausted else certificate.bound,
        certificate=certificate,
        solver=repr(solver),
        seed=seed,
        seconds=seconds,
        stats={**answer.stats, **answer.figures},
        auxiliary=answer.auxiliary,
    )


def _least_budgets(problem: Problem, seconds: float) -> tuple[tuple[int | None, ...], list[int]]:
    """For each resource the least budget that works while the others stay, or None where none does.

    Each is the exact cost of a selection. The proof that no smaller budget works is exact while the costs above the
    least of their group add up to less than 2**50. The second result lists the resources for which time ran out before
    that was proved.
    """
    if problem.n_resources == 1 and problem.rows is None:
        return problem.least_cost, []
    deadline = time.perf_counter() + min(seconds, _LEAST_BUDGET_SECONDS)
    least: list[int | None] = []
    doubtful = []
    for resource in range(problem.n_resources):
        unlimited = problem.budget.copy()
        unlimited[resource] = INT64_MAX
        value = problem.above[resource].astype(np.float64)
        relaxed = dataclasses.replace(problem, value=value, budget=unlimited, pairs=None)
        share = max((deadline - time.perf_counter()) / (problem.n_resources - resource), _LEAST_SHARE)
        certificate, cheapest = _certified(relaxed, _named("auto", relaxed), share, 0, None)
        least.append(None if cheapest.choice is None else int(problem.cost[resource, cheapest.choice].sum()))
        if certificate.status in (Status.FEASIBLE, Status.UNKNOWN):
            doubtful.append(resource)
    return tuple(least), doubtful
