"""The short way from a table to a policy: build the problem, solve it, say what was found in the words of networks."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .builder import build
from .policy import Policy
from .solvers import NoSolution, Status, solve

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .builder import Index
    from .formats import Format
    from .sensitivity.table import SensitivityTable
    from .solvers import Problem, Solution, Solver
    from .units import Amount


@dataclass(frozen=True, eq=False)
class Allocation:
    """A policy, and all that it rests on.

    Attributes
    ----------
    policy
        The policy.
    solution
        The solver's answer, with its certificate.
    problem
        The problem that was solved: `solution.certificate.holds(problem)` rechecks the bound.
    index
        What the problem's groups and labels mean.
    """

    policy: Policy
    solution: Solution
    problem: Problem
    index: Index


def allocate(
    table: SensitivityTable,
    budgets: Mapping[str, Amount],
    *,
    solver: Solver | str = "auto",
    pinned: Mapping[str, str | Format] | None = None,
    tied: Sequence[Sequence[str]] = (),
    seconds: float = 60.0,
    seed: int = 0,
) -> Allocation:
    """Choose one format per layer: the least predicted loss within every budget.

    Parameters
    ----------
    table
        The sensitivities.
    budgets
        From ``"weight_bytes"``, ``"bits_per_weight"`` or ``"bops"`` to an amount such as ``90_000``, ``"90kB"`` or
        ``"25%"``.
    solver
        A solver's name, or a solver with its options.
    pinned
        From layers to the format that each must have.
    tied
        Sets of layers that must share one format.
    seconds
        The time limit of the solver.
    seed
        The seed of solvers that draw random numbers.

    Returns
    -------
    allocation
        The policy with its proof.

    Raises
    ------
    InvalidInput
        When an argument cannot be used; the message names it.
    NoSolution
        When no policy is within the budgets, with the least budgets that work; or none was found in time.
    """
    problem, index = build(table, budgets, pinned=pinned, tied=tied)
    require_each_budget(problem, index)
    solution = solve(problem, solver, seconds=seconds, seed=seed)
    return Allocation(as_policy(table, solution, index), solution, problem, index)


def as_policy(table: SensitivityTable, solution: Solution, index: Index) -> Policy:
    """The policy that a solution of the table's problem means.

    Parameters
    ----------
    table
        The table that the problem was built from.
    solution
        The answer.
    index
        The index of the problem.

    Returns
    -------
    policy
        The policy, with its proof and where it came from.

    Raises
    ------
    NoSolution
        When the answer holds no selection; with the least budgets that work where it is proved that there is none.
    """
    if solution.choice is None:
        raise NoSolution(why_none(solution, index))
    policy = Policy.on_table(table, index.policy_formats(solution.choice))
    return dataclasses.replace(
        policy,
        predicted=solution.value,
        bound=solution.bound if math.isfinite(solution.bound) else math.nan,
        status=solution.status.value,
        ground=solution.certificate.ground,
        solver=solution.solver,
        seed=solution.seed,
        budgets=index.budgets,
        ties=index.tied,
        pinned=index.pinned,
    )


def require_each_budget(problem: Problem, index: Index) -> None:
    """Refuse budgets that cannot be met even alone, before any search.

    Parameters
    ----------
    problem
        The problem.
    index
        Its index, for the names.

    Raises
    ------
    NoSolution
        When the cheapest formats exceed a budget; with the least that works for each such budget.
    """
    words = [
        f"budget {budget} cannot be met: even the cheapest formats take {budget.in_units(least, up=True)}, "
        "the least that works"
        for budget, least in zip(index.budgets, problem.least_cost, strict=True)
        if least > budget.limit
    ]
    if words:
        raise NoSolution("; ".join(words))


def why_none(solution: Solution, index: Index) -> str:
    """Say in the words of networks why there is no selection, and which budgets would do.

    Parameters
    ----------
    solution
        An answer without a selection.
    index
        The index of its problem.

    Returns
    -------
    reason
        One sentence.
    """
    if solution.status is not Status.INFEASIBLE:
        return (
            f"{solution.solver} {solution.status.value} after {solution.seconds:.1f} seconds: give it more seconds, "
            "or use the solver 'exact'"
        )
    words = [
        f"{budget}: "
        + (
            "no amount works while the others stay as they are"
            if least is None
            else f"the least that works while the others stay is {budget.in_units(least, up=True)}"
        )
        for budget, least in zip(index.budgets, solution.least_budget, strict=True)
    ]
    return "no policy is within all the budgets together; " + "; ".join(words)
