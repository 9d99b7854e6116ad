"""The front door: finds the solver, checks the arguments, calls it, recomputes its answer and certifies it."""

from __future__ import annotations

import dataclasses
import difflib
import time
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from .answer import Answer, Solver, Status
from .assembling import solution_of
from .backends.cp_sat import CpSat
from .backends.highs import Highs
from .backends.pulp_milp import Pulp
from .backends.scip import Scip
from .bounds.lagrangian import lagrangian_bound
from .calling import call
from .certify import certificate_of, certify_infeasible
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
from .solution import GROUND_NONE, Certificate, LeastBudgets, Solution
from .watching import Enough, SearchProgress, watch_for
from .witness import witnessed

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    from .watching import Watch

_LEAST_BUDGET_SECONDS = 60.0  # at most, for all least budgets of an infeasible problem together
_LEAST_SHARE = 0.01  # seconds that the least budget of each resource gets at least
_CERTIFIED_WITHIN = 0.05  # seconds past the limit in which a price for the certificate is looked for
_ATTEMPTS = 50  # at a least budget whose costs floats cannot tell apart; each costs less than the one before
_EXACT_COSTS = 2**48  # costs above the least of their group that add up to no more are sums without rounding

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

_SEEDED = (Exact, Enumerate, CpSat, Highs, Pulp, Scip, Pairwise)  # greedy and evolve are plain baselines

_MANY_BUDGETS = 16  # such as the steps of a peak: state lists grow with each of them, cuts of a general solver do not


def solve(
    problem: Problem,
    solver: Solver | str = "auto",
    *,
    seconds: float = 60.0,
    seed: int = 0,
    warm: ArrayLike | None = None,
    progress: Callable[[SearchProgress], object] | None = None,
    gap: float | None = None,
    relative_gap: float | None = None,
    good_enough: float | None = None,
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
        Wall time for all of it. The least budgets of an infeasible problem are sought when `Solution.least_budget` is
        read or `Solution.require` is called, which may take as much again, a minute at most.
    seed
        Seed of whatever the solver draws; where no limit is hit, the same call gives the same selection.
    warm
        ``(n_groups,)`` labels of a selection to start from; where it is within the budgets, the answer is no worse.
    progress
        Called with what is known whenever a better selection is found, by solvers that tell (`Exact`, `CpSat`, and your
        own with `watched`), and at the end, by all. The same goes to the logger ``mckp_quant.solvers`` at level INFO.
    gap, relative_gap, good_enough
        Stop where `Solution.gap` or `Solution.relative_gap` is no more than this, or the value is: the answer is then
        FEASIBLE, unless it is proved, and ``stats["stopped"]`` says which. The bound is that of the certificate. Where
        none is reached, the search goes on to its end. Only solvers that tell of their progress take these.

    Returns
    -------
    solution
        Selection, exact costs, status, bound and certificate. An infeasible problem is an answer too. Every solver but
        greedy, evolve, monotone, the raw backends and those of other packages ends no worse than greedy and relax.

    Raises
    ------
    KeyboardInterrupt
        When the user interrupts before any selection is known; later the best one is the answer.
    InvalidProblem
        When the solver does not exist or cannot take the problem, cannot be stopped at a gap or value although one is
        given, or an argument makes no sense.
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

    watch = watch_for(problem, chosen, progress, Enough(gap, relative_gap, good_enough), started)

    try:
        certificate, answer = _certified(problem, chosen, seconds, seed, start, watch)
    finally:
        if watch is not None:
            watch.close()
    least = partial(least_budgets, problem, seconds) if certificate.status is Status.INFEASIBLE else None
    solution = solution_of(problem, certificate, answer, chosen, seed, time.perf_counter() - started, least)
    if watch is not None:
        if solution.choice is not None and watch.error is None:
            watch.tell(SearchProgress(solution.value, solution.bound, solution.seconds))
        if watch.error is not None:
            raise watch.error
    return solution


def unproved(problem: Problem, choice: NDArray[np.int64] | None, price: NDArray[np.float64]) -> Solution:
    """What is known of a problem without solving it.

    Parameters
    ----------
    problem
        The problem.
    choice
        ``(n_groups,)`` labels of a selection within the budgets, or None.
    price
        ``(n_resources,)`` float64, for the bound; any price proves one.

    Returns
    -------
    solution
        FEASIBLE, or OPTIMAL where the price proves that; without a selection UNKNOWN.
    """
    answer = Answer(None if choice is None else problem.position(choice), price=price)
    if choice is None:
        certificate = Certificate(Status.UNKNOWN, GROUND_NONE, price, lagrangian_bound(problem, price), 0.0)
    else:
        certificate = certificate_of(problem, answer, "unproved", witness=False)
    return solution_of(problem, certificate, answer, "none", 0, 0.0, None)


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
    problem: Problem,
    solver: Solver,
    seconds: float,
    seed: int,
    warm: NDArray[np.int64] | None,
    watch: Watch | None = None,
) -> tuple[Certificate, Answer]:
    if any(least > limit for least, limit in zip(problem.least_cost, problem.budget.tolist(), strict=True)):
        return certify_infeasible(problem, GROUND_NONE), Answer(None)
    deadline = time.perf_counter() + seconds
    seeded = isinstance(solver, _SEEDED) and not _is_raw(solver)
    answer = call(problem, solver, seconds, seed, warm, seeded=seeded, watch=watch)
    if watch is not None and watch.stopped and not answer.complete:
        # What was found since is no worse, so at this price its gap is no wider than the one that was enough.
        answer = dataclasses.replace(answer, price=watch.price, stats={**answer.stats, "stopped": watch.stopped})
    answer = witnessed(problem, answer, seed, deadline)
    certify = partial(certificate_of, solver=solver.name, witness=type(solver) not in SOLVERS.values())
    try:
        until = max(deadline, time.perf_counter() + _CERTIFIED_WITHIN)
        return certify(problem, answer, deadline=until), answer
    except KeyboardInterrupt:
        if answer.choice is None:
            raise
        price = np.zeros(problem.n_resources) if answer.price is None else answer.price
        answer = dataclasses.replace(answer, complete=False, price=price, stats={**answer.stats, "interrupted": True})
        return certify(problem, answer), answer


def _is_raw(solver: Solver) -> bool:
    return getattr(solver, "reduce", True) is False


def least_budgets(problem: Problem, seconds: float) -> LeastBudgets:
    """For each resource the least budget that works while the others stay, or None where none does.

    Each is the exact cost of a selection. Costs that floats cannot tell apart are minimised again under a budget of one
    unit less, until that is proved infeasible.

    Parameters
    ----------
    problem
        An infeasible problem.
    seconds
        Wall time for all of them; never more than a minute.

    Returns
    -------
    least
        Resources for which time, or the number of attempts, ran out before that was proved are named; once time is up
        or the user interrupts, the rest of the budgets are None and unproved.
    """
    if problem.n_resources == 1 and problem.rows is None:
        return LeastBudgets(problem.least_cost)
    deadline = time.perf_counter() + min(seconds, _LEAST_BUDGET_SECONDS)
    least: list[int | None] = []
    doubtful: list[int] = []
    interrupted = False
    for resource in range(problem.n_resources):
        left = deadline - time.perf_counter()
        if least and (left <= 0 or interrupted):
            doubtful.append(resource)
            least.append(None)
            continue
        unlimited = problem.budget.copy()
        unlimited[resource] = INT64_MAX
        value = problem.above[resource].astype(np.float64)
        relaxed = dataclasses.replace(problem, value=value, budget=unlimited, pairs=None)
        share = max(left / (problem.n_resources - resource), _LEAST_SHARE)
        try:
            found, proved = _cheapest(relaxed, resource, share)
        except KeyboardInterrupt:
            interrupted = True
            found, proved = None, False
        least.append(found)
        if not proved:
            doubtful.append(resource)
    return LeastBudgets(tuple(least), tuple(doubtful), interrupted)


def _cheapest(relaxed: Problem, resource: int, seconds: float) -> tuple[int | None, bool]:
    """The least cost of a selection of a problem whose values are those costs, and whether it is proved to be."""
    deadline = time.perf_counter() + seconds
    largest = sum(np.maximum.reduceat(relaxed.above[resource], relaxed.start[:-1]).tolist())
    least: int | None = None
    for _ in range(_ATTEMPTS):
        left = max(deadline - time.perf_counter(), 0.0)
        certificate, cheapest = _certified(relaxed, _named("auto", relaxed), left, 0, None)
        if cheapest.choice is None:
            return least, certificate.status is Status.INFEASIBLE
        least = int(relaxed.cost[resource, cheapest.choice].sum())
        if cheapest.stats.get("interrupted"):
            raise KeyboardInterrupt
        if largest <= _EXACT_COSTS or least == relaxed.least_cost[resource]:
            return least, certificate.status is Status.OPTIMAL or least == relaxed.least_cost[resource]
        if time.perf_counter() >= deadline:
            break
        budget = relaxed.budget.copy()
        budget[resource] = least - 1
        relaxed = relaxed.with_budget(budget)
    return least, False
