"""Allocation: build the problem of a request, solve it, and return the policy with its proof."""

from __future__ import annotations

import dataclasses
import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..common.checks import check_seconds, check_seed
from ..common.display import Markup, element, joined
from ..common.renamed import renamed_keywords
from ..common.shown import shown
from ..costs.costs import PEAKS, RESOURCES, resource
from ..errors import InvalidInput
from ..policy.policy import Policy
from ..policy.prediction import totals
from ..solvers import NoSolution, Status, solve
from ..tables.repair import negative_words
from .builder import build_request
from .choices import check_order
from .constraints.peak_memory import peak
from .explanation import least_peaks, require_each_budget, useless, why_none
from .left_in_float import as_indexed
from .optimism import correct
from .request import IN_A_REQUEST, as_request

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from ..common.amounts import Amount
    from ..solvers import Problem, Solution, Solver
    from ..tables.table import SensitivityTable
    from .index import Index
    from .request import Pins, Request

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Allocation:
    """A policy, with the problem that it solves and the proof.

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
        Sentences about budgets that change nothing, and about chosen losses that cannot be.
    """

    policy: Policy
    solution: Solution
    problem: Problem
    index: Index
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """The policy and the notes."""
        return "\n".join([repr(self.policy), *map(shown, self.notes)])

    def _repr_html_(self) -> str:
        """The same in a notebook."""
        return joined([Markup(self.policy._repr_html_()), *(element("p", None, each) for each in self.notes)])


def check_origin(allocation: object, table: SensitivityTable) -> Allocation:
    """Give an allocation back; raises InvalidInput for other objects and for one that was made from another table."""
    if not isinstance(allocation, Allocation):
        raise InvalidInput(
            f"expected budgets or what allocate() returned, got a {type(allocation).__name__}: give a mapping such as "
            "{'weight_bytes': '90kB'}, or the Allocation itself, not its policy"
        )
    if allocation.policy.table != table.digest:
        raise InvalidInput("the allocation was made from another table: give the one that it was made from")
    return allocation


@renamed_keywords(**IN_A_REQUEST)
def allocate(
    table: SensitivityTable,
    request: Request | Mapping[str, Amount],
    *,
    target: str | None = None,
    pinned: Pins | None = None,
    solver: Solver | str = "auto",
    seconds: float = 60.0,
    seed: int = 0,
    corrected: bool = True,
) -> Allocation:
    """Choose one format per layer: the least predicted loss within every budget.

    Parameters
    ----------
    table
        The sensitivities.
    request
        A `Request`, or in short a mapping of budgets such as ``{"weight_bytes": "90kB"}``.
    target, pinned
        Beside a mapping: the export target, and from layers to the format that each must have; see `Request`.
    solver
        A solver's name, or a solver with its options.
    seconds
        The time limit of the solver.
    seed
        The seed of solvers that draw random numbers, and of the correction.
    corrected
        Whether to correct the prediction for the policy having been chosen by it, where the table holds the
        contributions of its batches: at most 50 more solves, see `Policy.corrected`. The policy stays what it is.

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
    check_seconds(seconds)
    check_seed(seed)
    asked = as_request(request, target=target, pinned=pinned)
    problem, index = build_request(table, asked)
    require_each_budget(problem, index)
    return solve_request(table, asked, problem, index, solver, seconds, seed, corrected=corrected)


def solve_request(
    table: SensitivityTable,
    request: Request,
    problem: Problem,
    index: Index,
    solver: Solver | str,
    seconds: float,
    seed: int,
    warm: NDArray[np.int64] | None = None,
    *,
    corrected: bool = True,
) -> Allocation:
    """Solve a request whose problem is built.

    Parameters
    ----------
    table
        The table.
    request
        What is asked.
    problem, index
        What `build_request` made of it.
    solver, seconds, seed
        As for `allocate`.
    warm
        ``(n_groups,)`` labels at which to start, or None.
    corrected
        As for `allocate`.

    Returns
    -------
    allocation
        The policy with its proof.

    Raises
    ------
    InvalidInput
        When the solver goes by the order of the formats, which do not rise in bits.
    NoSolution
        When there is none, or none was found in time.
    """
    check_order(index.formats, solver)
    table = as_indexed(table, index)
    notes = useless(problem, index)
    solution = solve(problem, solver, seconds=seconds, seed=seed, warm=warm)
    if solution.status is Status.INFEASIBLE and any(name in PEAKS for name in request.budgets):
        raise NoSolution(why_none(solution, index, least_peaks(table, request, index)))
    policy = as_policy(table, solution, index)
    notes = (*notes, *_doubtful(table, policy))
    if corrected and solution.choice is not None:
        policy = correct(table, policy, problem, index, solution.choice, solver=solver, seconds=seconds, seed=seed)
    for note in notes:
        logger.info("%s", note)
    return Allocation(policy, solution, problem, index, notes)


def _doubtful(table: SensitivityTable, policy: Policy) -> tuple[str, ...]:
    """What is odd about the losses that a policy rests on, as sentences."""
    chosen = np.zeros(table.loss.shape, dtype=bool)
    chosen[np.arange(len(table.layers)), [table.column(entry.name) for entry in policy.formats]] = True
    found = [negative_words(table, chosen & (table.loss < 0))]
    useless_ones = [table.layer_names[row] for row in np.flatnonzero((chosen & (table.loss > table.guessing)).any(1))]
    if useless_ones:
        found.append(
            f"layer {useless_ones[0]!r}{f' and {len(useless_ones) - 1} more' if len(useless_ones) > 1 else ''} gets a "
            f"format whose loss is above the {table.guessing:.3g} nats of a guess among {table.classes} classes: the "
            "network will be useless; allow it more"
        )
    return tuple(filter(None, found))


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
    table = as_indexed(table, index)
    formats = index.policy_formats(solution.choice)
    policy = Policy.on_table(table, formats)
    costs = totals(table.layers, formats, target=index.target)
    for budget, most, used in zip(index.budgets, solution.budget, solution.cost, strict=True):
        if budget.name in PEAKS:
            weights = costs["weight_bytes"]
            costs[budget.name] = peak(budget.name, table, index.groups, index.activations, formats, weights)
        elif budget.name not in RESOURCES:
            costs[budget.name] = budget.limit + most - used if budget.least else budget.fixed + used
    for each in index.conversions:
        costs[resource(each.resource).counts if each.resource in RESOURCES else each.resource] += each.total(
            dict(zip(index.layer_names, formats, strict=True))
        )
    return dataclasses.replace(
        policy,
        costs=costs,
        predicted=solution.value,
        bound=solution.bound if math.isfinite(solution.bound) else math.nan,
        status=solution.status.value,
        ground=solution.certificate.ground,
        tolerance=solution.certificate.tolerance,
        solver=solution.solver,
        seed=solution.seed,
        budgets=tuple(dict.fromkeys(dataclasses.replace(each, fixed=0, whole=0) for each in index.budgets)),
        ties=index.tied,
        pinned=index.pinned,
        target=index.target or "",
    )
