"""Questions about one answer: what a budget is worth, why nothing fits, and which policies come next."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..allocation.allocating import Allocation, as_policy
from ..allocation.builder import build_request
from ..allocation.explanation import impossible, least_peaks, require_each_budget, useless
from ..allocation.request import Request, as_request
from ..common.checks import check_count, check_seconds
from ..common.documents import plain
from ..costs.costs import PEAKS
from ..errors import InvalidInput
from ..solvers import Status, solve
from ..solvers import explain as explain_solution
from ..solvers import k_best as k_best_selections

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..allocation.index import Index
    from ..allocation.request import Pins
    from ..common.amounts import Amount
    from ..costs.costs import Budget
    from ..policy.policy import Policy
    from ..solvers import Problem, Shortfall, Solver, Worth
    from ..tables.table import SensitivityTable

_FIRST_SOLVE = 0.5  # of the time


@dataclass(frozen=True)
class Change:
    """What the next larger amount of a budget would buy.

    Attributes
    ----------
    amount
        That amount, in what the budget counts; for a minimum, the lower one that would do.
    saving
        By how much the predicted loss is lower there.
    formats
        Layer, format now and format then, of the layers that change.
    """

    amount: int
    saving: float
    formats: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True)
class Bought:
    """One budget in an explanation.

    Attributes
    ----------
    budget
        The budget.
    used
        What the policy takes of it, in what it counts.
    price
        What one more unit of that saves at the margin, in the table's unit; 0 where the budget does not bind.
    next
        The next amount that helps; None where none does, or it was not found in time.
    """

    budget: Budget
    used: int
    price: float
    next: Change | None = None


@dataclass(frozen=True, eq=False)
class Explained:
    """What an answer means.

    Attributes
    ----------
    allocation
        The answer; None where no policy is within the budgets.
    bought
        One for each budget of a policy.
    reasons
        Where there is no policy: what each budget lacks, a sentence each. Beside a policy: which budgets change
        nothing.
    factor
        By how much all budgets would have to be multiplied together for a policy to fit; None where none is known, and
        beside a policy.
    complete
        Whether everything was found in time.
    """

    allocation: Allocation | None
    bought: tuple[Bought, ...]
    reasons: tuple[str, ...]
    factor: float | None
    complete: bool

    def document(self) -> dict[str, Any]:
        """The same in plain types, for JSON."""
        document: dict[str, Any] = plain(
            {
                "policy": None if self.allocation is None else self.allocation.policy.document(),
                "budgets": [_document(each) for each in self.bought],
                "reasons": self.reasons,
                "factor": self.factor,
                "complete": self.complete,
            }
        )
        return document


def _document(bought: Bought) -> dict[str, Any]:
    facts = {"name": bought.budget.name, "limit": bought.budget.limit, "used": bought.used, "price": bought.price}
    return {**facts, "next": None if bought.next is None else dataclasses.asdict(bought.next)}


def explain(
    table: SensitivityTable,
    request: Request | Mapping[str, Amount],
    *,
    target: str | None = None,
    pinned: Pins | None = None,
    solver: Solver | str = "auto",
    seconds: float = 60.0,
) -> Explained:
    """Say what each budget is worth to the best policy, or why no policy is within the budgets.

    Parameters
    ----------
    table
        The sensitivities.
    request
        A `Request`, or in short a mapping of budgets.
    target, pinned
        Beside a mapping, see `Request`.
    solver, seconds
        As for `allocate`; the time is for all solves together.

    Returns
    -------
    explained
        Prices and next amounts, or reasons.

    Raises
    ------
    InvalidInput
        When an argument cannot be used.
    NoSolution
        When activations in floating point alone exceed a peak, or nothing was found in time.
    """
    check_seconds(seconds)
    asked = as_request(request, target=target, pinned=pinned)
    problem, index = build_request(table, asked)
    alone = impossible(problem, index)
    solution = solve(problem, solver, seconds=_FIRST_SOLVE * seconds)
    found = explain_solution(problem, solution, solver=solver, seconds=(1 - _FIRST_SOLVE) * seconds)
    if solution.status is Status.INFEASIBLE:
        together = () if alone else _together(table, asked, index, found.shortfalls)
        factor = None if found.least_factor is None else float(found.least_factor)
        return Explained(None, (), (*alone, *together, *index.left_out), factor, not found.interrupted)
    policy = as_policy(table, solution, index)
    allocation = Allocation(policy, solution, problem, index)
    bought = []
    for at, worth in enumerate(found.worths):
        if index.budgets[at].name not in PEAKS:  # a peak is many resources, none of which a person gave
            bought.append(_bought(problem, allocation, at, worth, solver, seconds))
    return Explained(allocation, tuple(bought), useless(problem, index), None, not found.interrupted)


def _bought(
    problem: Problem, allocation: Allocation, at: int, worth: Worth, solver: Solver | str, seconds: float
) -> Bought:
    budget = allocation.index.budgets[at]
    bought = Bought(budget, _meant(budget, worth, worth.used), worth.price)
    if worth.next_budget is None or worth.saving is None:
        return bought
    limits = problem.budget.tolist()
    limits[at] = worth.next_budget
    then = solve(problem.with_budget(limits), solver, seconds=seconds, warm=allocation.solution.choice)
    if then.choice is None:
        return bought
    index = allocation.index
    pairs = zip(index.layer_names, allocation.policy.formats, index.policy_formats(then.choice), strict=True)
    changed = tuple((layer, now.name, later.name) for layer, now, later in pairs if now.name != later.name)
    change = Change(_meant(budget, worth, worth.next_budget), worth.saving, changed)
    return dataclasses.replace(bought, next=change)


def _meant(budget: Budget, worth: Worth, amount: int) -> int:
    """An amount of a resource in what its budget counts: that of a minimum counts what is less than the most."""
    return budget.limit + worth.budget - amount if budget.least else amount


def _together(
    table: SensitivityTable, request: Request, index: Index, shortfalls: tuple[Shortfall, ...]
) -> tuple[str, ...]:
    """For each budget the amount that would do while the others stay, a sentence each."""
    words: dict[str, None] = {}
    peaks = {name: least for name, least in least_peaks(table, request, index).items() if least is not None}
    for budget, short in zip(index.budgets, shortfalls, strict=True):
        found = "" if short.proved else " found in time"
        if budget.name in PEAKS:
            least = peaks.get(budget.name)
        elif short.least_budget is not None and budget.least:
            least = budget.limit + short.budget - short.least_budget
        else:
            least = short.least_budget
        if least is None:
            words[f"budget {budget}: no amount{found} works while the others stay as they are"] = None
        else:
            side, shown = "most" if budget.least else "least", budget.describe(least, up=not budget.least)
            words[f"budget {budget}: the {side}{found} that works while the others stay is {shown}"] = None
    return tuple(words)


def k_best(
    table: SensitivityTable,
    request: Request | Mapping[str, Amount],
    k: int,
    *,
    target: str | None = None,
    pinned: Pins | None = None,
    seconds: float = 60.0,
) -> tuple[Policy, ...]:
    """The k policies of least predicted loss within the budgets.

    Parameters
    ----------
    table
        The sensitivities.
    request
        A `Request`, or in short a mapping of budgets.
    k
        How many, at least 1.
    target, pinned
        Beside a mapping, see `Request`.
    seconds
        The time limit.

    Returns
    -------
    policies
        All different, the best first; fewer where there are not so many.

    Raises
    ------
    InvalidInput
        When an argument cannot be used, or the request has constraints on the policy as a whole.
    NoSolution
        When no policy is within the budgets, or none was found in time.
    """
    check_count("k", k, 1)
    check_seconds(seconds)
    asked = as_request(request, target=target, pinned=pinned)
    problem, index = build_request(table, asked)
    if problem.rows is not None:
        raise InvalidInput(
            "k_best takes no constraints on the policy as a whole (Request.constraints): leave them out, or use "
            "allocate() for the best policy"
        )
    require_each_budget(problem, index)
    found = k_best_selections(problem, k, seconds=seconds)
    if not found:
        as_policy(table, solve(problem, seconds=seconds), index)  # raises NoSolution, with the budgets that work
    return tuple(as_policy(table, each, index) for each in found)
