"""Asks the solvers what a report adds to a policy: the trade-off around it, and what its budgets are worth.

This is the one place where a report solves anything; a front or an allocation that is given is taken as it is.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ...allocation.allocating import Allocation, allocate
from ...allocation.builder import build_request
from ...allocation.request import Request
from ...costs.costs import PEAKS, RESOURCES
from ...errors import InvalidInput
from ...solvers import NoSolution, explain, front
from .lines import BudgetLine

if TYPE_CHECKING:
    from ...costs.costs import Budget
    from ...policy.policy import Policy
    from ...solvers import Worth
    from ...tables.table import SensitivityTable

_POINTS = 200
_SECONDS = 10.0
_UNITS = {"weight_bytes": "byte", "bits_per_weight": "stored bit", "bops": "bit operation"}


def weight_front(table: SensitivityTable, policy: Policy) -> list[tuple[int, float]]:
    """Bytes and predicted loss of the best policies of every size, with the ties, pins and target of a policy.

    Parameters
    ----------
    table
        The table.
    policy
        The policy; its budgets are left aside.

    Returns
    -------
    points
        By rising bytes, at most 200; empty where the solvers take no such front.
    """
    try:
        problem, _ = build_request(table, _request(policy, {"weight_bytes": "100%"}))
        found = front(problem, max_points=_POINTS, seconds=_SECONDS)
    except (InvalidInput, NoSolution):  # such as a policy of another table's formats, or rows of its target
        return []
    return list(zip(found.cost.tolist(), found.value.tolist(), strict=True))


def allocation_of(table: SensitivityTable, policy: Policy) -> Allocation | None:
    """The allocation that gave a policy, made again from what the policy says of itself.

    Parameters
    ----------
    table
        The table that it was made from.
    policy
        The policy.

    Returns
    -------
    allocation
        None where the policy does not hold all that it was made from, such as measured costs, or was not allocated.
    """
    known = {*RESOURCES, *PEAKS}
    if not policy.budgets or any(each.name not in known for each in policy.budgets) or math.isnan(policy.bound):
        return None
    limits = {each.name: each.asked for each in policy.budgets if not each.least}
    least = {each.name: each.asked for each in policy.budgets if each.least}
    try:
        found = allocate(table, _request(policy, limits, least), seconds=_SECONDS)
    except (InvalidInput, NoSolution):
        return None
    return found if found.policy == policy else None


def _request(policy: Policy, limits: dict[str, str], least: dict[str, str] | None = None) -> Request:
    return Request(
        limits,
        at_least=least or None,
        pinned=dict(policy.pinned),
        tied=policy.ties,
        target=policy.target or None,
    )


def budget_lines(policy: Policy, allocation: Allocation | None) -> tuple[BudgetLine, ...]:
    """The budgets of a policy, and what each is worth.

    Parameters
    ----------
    policy
        The policy.
    allocation
        With its problem, for prices; None leaves them out.

    Returns
    -------
    lines
        One for each budget.
    """
    worths = {} if allocation is None else _worths(allocation)
    return tuple(_line(policy, budget, worths.get(str(budget))) for budget in policy.budgets)


def _worths(allocation: Allocation) -> dict[str, Worth]:
    """By budget in words; of the resources of a peak the one that is worth most."""
    if allocation.problem.pairs is not None:
        return {}
    found = explain(allocation.problem, allocation.solution, seconds=_SECONDS).worths
    worths: dict[str, Worth] = {}
    for budget, worth in zip(allocation.index.budgets, found, strict=False):
        known = worths.get(str(budget))
        if known is None or worth.price > known.price:
            worths[str(budget)] = worth
    return worths


def _line(policy: Policy, budget: Budget, worth: Worth | None) -> BudgetLine:
    kind = RESOURCES.get(budget.name)
    used = policy.costs.get(budget.name if kind is None else kind.counts)
    left = None if used is None else (used - budget.limit if budget.least else budget.limit - used)
    further = None if worth is None or worth.next_budget is None else worth.next_budget - worth.budget
    # A peak has many resources, whose own limits say nothing to a person; neither does one that holds a fixed part.
    shown = further if budget.name not in PEAKS else None
    return BudgetLine(
        name=budget.name,
        asked=budget.asked,
        least=budget.least,
        limit=budget.in_units(budget.limit),
        used="" if used is None else budget.in_units(used),
        left="" if left is None else budget.in_units(left),
        share=math.nan if used is None or not budget.limit else used / budget.limit,
        unit=_UNITS.get(budget.name, budget.unit or "unit"),
        price=math.nan if worth is None else worth.price,
        next_limit=""
        if shown is None
        else budget.in_units(budget.limit - shown if budget.least else budget.limit + shown, up=not budget.least),
        saving=math.nan if shown is None or worth is None or worth.saving is None else worth.saving,
    )
