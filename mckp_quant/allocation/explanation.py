"""Which budgets make a problem infeasible, which amounts would do instead, and which budgets change nothing."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from ..costs.costs import PEAKS
from ..solvers import NoSolution, Status, solve
from .builder import build_request

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..costs.costs import Budget
    from ..solvers import Problem, Solution
    from ..tables.table import SensitivityTable
    from .index import Index
    from .request import Request

_REASONS = 3  # why a target does not take formats
_NAMED = 3  # layers that a sentence names
_HALVING_SECONDS = 2.0  # for each trial of another limit on a peak


def impossible(problem: Problem, index: Index) -> tuple[str, ...]:
    """Say which budgets cannot be met even alone, which amounts could be, and which layers force it.

    Parameters
    ----------
    problem
        The problem.
    index
        Its index.

    Returns
    -------
    sentences
        One per such budget; empty where each can be met alone.
    """
    words: dict[str, str] = {}
    worst: dict[str, int] = {}
    for at, (budget, least) in enumerate(zip(index.budgets, problem.least_cost, strict=True)):
        bound = int(problem.budget[at])
        if least <= bound:
            continue
        kind, best = ("costliest", "most") if budget.least else ("cheapest", "least")
        total = budget.limit + bound - least if budget.least else least + budget.fixed
        said = str(budget)
        if total <= worst.get(said, -1):  # a peak has several resources, and the largest says which limit can be met
            continue
        worst[said] = total
        shown = budget.describe(total, up=not budget.least)
        words[said] = (
            f"budget {said} cannot be met: even the {kind} formats take {shown}, the {best} that works"
            + _forced(problem, index, at)
        )
    return tuple(words.values())


def useless(problem: Problem, index: Index) -> tuple[str, ...]:
    """Say which budgets change nothing.

    Parameters
    ----------
    problem
        The problem.
    index
        Its index.

    Returns
    -------
    sentences
        One for each budget that no selection exceeds; one more where the best formats without any budget are within
        all budgets.
    """
    most = np.maximum.reduceat(problem.cost, problem.start[:-1], axis=1).sum(axis=1)
    counted = {each.resource for each in index.conversions}  # rows hold these too
    idle = [
        at
        for at in range(problem.n_resources)
        if most[at] <= problem.budget[at] and index.budgets[at].name not in counted
    ]
    felt = {str(index.budgets[at]) for at in range(problem.n_resources) if at not in idle}  # a peak has several rows
    told = dict.fromkeys(str(index.budgets[at]) for at in idle)
    words = [
        f"budget {each} changes nothing: every choice of formats is within it" for each in told if each not in felt
    ]
    best = [
        int(first + np.argmin(problem.value[first:last]))
        for first, last in zip(problem.start[:-1], problem.start[1:], strict=True)
    ]
    loose = (
        not counted
        and len(idle) < problem.n_resources
        and bool((problem.cost[:, best].sum(axis=1) <= problem.budget).all())
    )
    if loose:
        words.append("the budgets change nothing: the formats with the least loss are within all of them")
    return tuple(words)


def why_none(solution: Solution, index: Index, peaks: Mapping[str, int | None] | None = None) -> str:
    """Say why there is no policy, and which budgets would allow one.

    Parameters
    ----------
    solution
        An answer without a selection.
    index
        The index of its problem.
    peaks
        The least limit on each peak that works while the other budgets stay; None where none does. A peak is many
        resources, so the answer cannot tell.

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
    words: dict[str, None] = {}
    doubtful = solution.least_budgets.unproved
    rows = zip(index.budgets, solution.budget, solution.least_budget, strict=True)
    for row, (budget, most, least) in enumerate(rows):
        if budget.name not in PEAKS:
            words[f"{budget}: {_what_works(budget, most, least, proved=row not in doubtful)}"] = None
        elif peaks is not None and budget.name in peaks:
            works = peaks[budget.name]
            words[f"{budget}: {_what_works(dataclasses.replace(budget, fixed=0), budget.limit, works)}"] = None
        else:
            words[str(budget)] = None
    return "no policy is within all the budgets together; " + "; ".join([*words, *_not_taken(index)])


def _what_works(budget: Budget, most: int, least: int | None, *, proved: bool = True) -> str:
    found = "" if proved else " found in time"
    if least is None:
        return f"no amount{found} works while the others stay as they are"
    if budget.least:
        return f"the most{found} that works while the others stay is {budget.describe(budget.limit + most - least)}"
    return f"the least{found} that works while the others stay is {budget.describe(least + budget.fixed, up=True)}"


def least_peaks(table: SensitivityTable, request: Request, index: Index) -> dict[str, int | None]:
    """The least limit on each peak that works while the other budgets stay, by halving.

    Parameters
    ----------
    table
        The table.
    request
        A request that no policy satisfies.
    index
        The index of its problem.

    Returns
    -------
    least
        Bytes by name; None where no limit works. A peak is missing where the time for its halvings ran out.
    """
    found: dict[str, int | None] = {}
    for name, budget in {each.name: each for each in index.budgets if each.name in PEAKS}.items():
        low, high = budget.limit, max(budget.whole, budget.limit)
        if not _works(table, request, name, high):
            found[name] = None
            continue
        while high - low > 1:
            middle = (low + high) // 2
            works = _works(table, request, name, middle)
            if works is None:
                break
            low, high = (low, middle) if works else (middle, high)
        else:
            found[name] = high
    return found


def _works(table: SensitivityTable, request: Request, name: str, limit: int) -> bool | None:
    """Whether there is a policy under another limit; None where the time ran out first."""
    try:
        problem, index = build_request(table, dataclasses.replace(request, budgets={**request.budgets, name: limit}))
    except NoSolution:
        return False
    if impossible(problem, index):
        return False
    solution = solve(problem, seconds=_HALVING_SECONDS)
    return None if solution.status is Status.UNKNOWN else solution.choice is not None


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
        raise NoSolution("; ".join([*words, *_not_taken(index)]))


def _not_taken(index: Index) -> tuple[str, ...]:
    """The first reasons why the target does not take formats, which may be the cheap ones."""
    more = len(index.left_out) - _REASONS
    return (*index.left_out[:_REASONS], *([f"and {more} more reasons"] if more > 0 else []))


def _forced(problem: Problem, index: Index, resource: int) -> str:
    """A clause about the layers that have a single format; it names those that take most."""
    if index.budgets[resource].least:
        return ""
    single = np.flatnonzero(np.diff(problem.start) == 1)
    if not len(single) or len(single) == problem.n_groups:
        return ""
    cost = problem.cost[resource, problem.start[single]]
    order = single[np.argsort(-cost, kind="stable")][:_NAMED]
    names = ", ".join(repr(index.layer_names[index.groups[group][0]]) for group in order.tolist())
    more = f" and {len(single) - len(order)} more" if len(single) > len(order) else ""
    taken = index.budgets[resource].in_units(int(cost.sum()))
    return f"; layers with a single format take {taken} of it ({names}{more})"
