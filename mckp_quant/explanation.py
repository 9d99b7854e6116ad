"""What budgets mean for a problem before anything expensive runs: which cannot be met and why, which change nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .builder import Index
    from .solvers import Problem

_NAMED = 3  # layers that a sentence names


def impossible(problem: Problem, index: Index) -> tuple[str, ...]:
    """Say which budgets cannot be met even alone, what would do, and which layers force it.

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
    words = []
    for at, (budget, least) in enumerate(zip(index.budgets, problem.least_cost, strict=True)):
        bound = int(problem.budget[at])
        if least <= bound:
            continue
        kind, best = ("costliest", "most") if budget.least else ("cheapest", "least")
        total = budget.limit + bound - least if budget.least else least + budget.fixed
        shown = budget.in_units(total, up=not budget.least)
        words.append(
            f"budget {budget} cannot be met: even the {kind} formats take {shown}, the {best} that works"
            + _forced(problem, index, at)
        )
    return tuple(words)


def useless(problem: Problem, index: Index) -> tuple[str, ...]:
    """Say which budgets rule nothing out.

    Parameters
    ----------
    problem
        The problem.
    index
        Its index.

    Returns
    -------
    sentences
        One per budget within which every selection is; one more where the best formats without any budget are within
        all of them.
    """
    most = np.maximum.reduceat(problem.cost, problem.start[:-1], axis=1).sum(axis=1)
    idle = [at for at in range(problem.n_resources) if most[at] <= problem.budget[at]]
    felt = {str(index.budgets[at]) for at in range(problem.n_resources) if at not in idle}  # a peak has several rows
    told = dict.fromkeys(str(index.budgets[at]) for at in idle)
    words = [
        f"budget {each} changes nothing: every choice of formats is within it" for each in told if each not in felt
    ]
    best = [
        int(first + np.argmin(problem.value[first:last]))
        for first, last in zip(problem.start[:-1], problem.start[1:], strict=True)
    ]
    loose = len(idle) < problem.n_resources and bool((problem.cost[:, best].sum(axis=1) <= problem.budget).all())
    if loose:
        words.append("no budget is felt: the formats with the least loss are within all of them")
    return tuple(words)


def _forced(problem: Problem, index: Index, resource: int) -> str:
    """The layers that have a single format and take most."""
    if index.budgets[resource].least:
        return ""
    single = np.flatnonzero(np.diff(problem.start) == 1)
    if not len(single) or len(single) == problem.n_groups:
        return ""
    cost = problem.cost[resource, problem.start[single]]
    order = single[np.argsort(-cost, kind="stable")][:_NAMED]
    names = ", ".join(repr(index.layers[index.groups[group][0]]) for group in order.tolist())
    more = f" and {len(single) - len(order)} more" if len(single) > len(order) else ""
    taken = index.budgets[resource].in_units(int(cost.sum()))
    return f"; layers with a single format take {taken} of it ({names}{more})"
