"""The short way from a table to a policy: build the problem, solve it, say what was found in the words of networks."""

from __future__ import annotations

import dataclasses
import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .activations import PEAKS, peak
from .builder import build
from .costs import RESOURCES
from .explanation import impossible, useless
from .policy import Policy
from .solvers import NoSolution, Status, solve

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .activations import Tensor
    from .builder import Index
    from .cost_tables import CostTable
    from .costs import Budget
    from .formats import Format
    from .sensitivity.table import SensitivityTable
    from .solvers import Problem, Solution, Solver
    from .structure import Structure
    from .units import Amount

logger = logging.getLogger(__name__)


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
    notes
        Sentences about budgets that change nothing.
    """

    policy: Policy
    solution: Solution
    problem: Problem
    index: Index
    notes: tuple[str, ...] = ()


def allocate(
    table: SensitivityTable,
    budgets: Mapping[str, Amount],
    *,
    solver: Solver | str = "auto",
    pinned: Mapping[str, str | Format] | None = None,
    tied: Sequence[Sequence[str]] = (),
    at_least: Mapping[str, Amount] | None = None,
    costs: Sequence[CostTable] = (),
    choices: Mapping[str, Sequence[str]] | None = None,
    target: str | None = None,
    structure: Structure | None = None,
    activations: Sequence[Tensor] = (),
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
    at_least
        Minima, from names to amounts as in `budgets`.
    costs
        Costs that were measured, such as latencies; their names may then stand in `budgets` and `at_least`.
    choices
        From layers, patterns such as ``"blocks.*.mlp.*"``, ``"kind:linear"``, ``"first"`` or ``"last"`` to the names of
        the formats that these may have; the last rule that matches counts.
    target
        The export target that must take the formats, such as ``"torchao"``.
    structure
        Constraints on the policy as a whole, such as a limit on distinct formats; only some solvers take them.
    activations
        The activation tensors, for the budgets ``"activation_bytes"`` and ``"total_bytes"``.
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
    problem, index = build(
        table,
        budgets,
        pinned=pinned,
        tied=tied,
        at_least=at_least,
        costs=costs,
        choices=choices,
        target=target,
        structure=structure,
        activations=activations,
    )
    require_each_budget(problem, index)
    notes = useless(problem, index)
    for note in notes:
        logger.info("%s", note)
    solution = solve(problem, solver, seconds=seconds, seed=seed)
    return Allocation(as_policy(table, solution, index), solution, problem, index, notes)


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
    others: dict[str, int] = {}
    for budget, most, used in zip(index.budgets, solution.budget, solution.cost, strict=True):
        if budget.name in PEAKS:
            others[budget.name] = peak(budget.name, table, index.groups, index.activations, policy.formats)
        elif budget.name not in RESOURCES:
            others[budget.name] = budget.limit + most - used if budget.least else used
    return dataclasses.replace(
        policy,
        costs={**policy.costs, **others},
        predicted=solution.value,
        bound=solution.bound if math.isfinite(solution.bound) else math.nan,
        status=solution.status.value,
        ground=solution.certificate.ground,
        solver=solution.solver,
        seed=solution.seed,
        budgets=tuple(dict.fromkeys(dataclasses.replace(each, fixed=0) for each in index.budgets)),
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
    words = impossible(problem, index)
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
        f"{budget}: {_what_works(budget, most, least)}"
        for budget, most, least in zip(index.budgets, solution.budget, solution.least_budget, strict=True)
    ]
    return "no policy is within all the budgets together; " + "; ".join(words)


def _what_works(budget: Budget, most: int, least: int | None) -> str:
    if least is None:
        return "no amount works while the others stay as they are"
    if budget.least:
        return f"the most that works while the others stay is {budget.in_units(budget.limit + most - least)}"
    return f"the least that works while the others stay is {budget.in_units(least + budget.fixed, up=True)}"
