"""Calls a general solver on the reduced core or on the raw problem, and turns its outcome into an answer."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from ..answer import Answer
from ..bounds.exact_sums import chosen_total
from ..core.reduction import reduce
from ..system.interrupt import OutOfTime
from .backend_model import BackendModel, Outcome
from .gap_units import gap_model

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ..problem.problem import Problem
    from ..watching import NormalWatch
    from .backend_model import Backend

REDUCTION = "exact"  # whose proof it is where the reduction, which all exact solvers share, leaves nothing to search
_CUTS = 20  # selections over budget that a backend may return before it is given up


def solve_reduced(
    problem: Problem,
    backend: Backend,
    seconds: float,
    warm: NDArray[np.int64] | None,
    watch: NormalWatch | None = None,
) -> Answer:
    """Reduce, let the backend search the core, and keep the better of its selection and the incumbent.

    Parameters
    ----------
    problem
        The problem.
    backend
        Minimises the core.
    seconds
        Wall time for all of it.
    warm
        ``(n_groups,)`` int64 positions to start from, or None.
    watch
        Is told of better selections, by a backend that can, or None.

    Returns
    -------
    answer
        Positions in the problem; complete where the backend exhausted the core. A selection of the backend that
        exceeds a budget by a rounding is forbidden and the search repeated, so nothing feasible is cut off.
    """
    deadline = time.perf_counter() + seconds
    reduction = reduce(problem, warm, deadline)
    stats: dict[str, Any] = {
        "core_groups": len(reduction.core.group),
        "core_choices": len(reduction.core.position),
    }
    if reduction.closed or not len(reduction.core.group):
        return Answer(reduction.incumbent, True, reduction.price, reduction.noise, stats, exhausted_by=REDUCTION)
    if watch is not None and reduction.incumbent is not None and watch.found(reduction.incumbent, reduction.price):
        return Answer(reduction.incumbent, False, reduction.price, stats=stats)
    model, unit = gap_model(reduction.core, reduction.price, reduction.gap, reduction.incumbent)
    if watch is not None:
        model = dataclasses.replace(
            model, heard=lambda choice: watch.found(reduction.expand(reduction.core.position[choice]), reduction.price)
        )
    outcome, model = search(model, backend, deadline, lambda _: True)
    stats |= {"claimed": outcome.claimed, "selections_cut_off": len(model.forbidden)}
    if outcome.interrupted:
        stats["interrupted"] = True
    choice = reduction.incumbent
    if outcome.choice is not None:
        found = reduction.expand(reduction.core.position[outcome.choice])
        if choice is None or chosen_total(problem.value, found) < chosen_total(problem.value, choice):
            choice = found
    resolution = max(reduction.noise, outcome.resolution * unit)
    return Answer(choice, outcome.complete, reduction.price, resolution, stats)


def search(
    model: BackendModel, backend: Backend, deadline: float, allowed: Callable[[Outcome], bool]
) -> tuple[Outcome, BackendModel]:
    """Call a backend until its selection holds in exact integers, or the user interrupts.

    Parameters
    ----------
    model
        The model.
    backend
        Minimises it.
    deadline
        `time.perf_counter` reading at which to stop.
    allowed
        Whether an outcome's selection satisfies whatever else there is.

    Returns
    -------
    outcome
        The last outcome, without a selection where none held.
    model
        The model, in which the selections that did not hold are forbidden.
    """
    outcome = Outcome(None, False, "not called")
    for _ in range(_CUTS):
        try:
            outcome = backend(model, max(deadline - time.perf_counter(), 0.01))
        except KeyboardInterrupt:
            return Outcome(None, False, "interrupted", interrupted=True), model
        except OutOfTime as error:
            return Outcome(None, False, f"no answer in time: {error}"), model
        if outcome.choice is None or (not model.over_budget(outcome.choice) and allowed(outcome)):
            break
        model = model.without(outcome)
        outcome = dataclasses.replace(outcome, choice=None, complete=False)
        if outcome.interrupted or time.perf_counter() > deadline:
            break
    return outcome, model


def solve_raw(problem: Problem, backend: Backend, seconds: float, warm: NDArray[np.int64] | None) -> Answer:
    """Give the backend the problem as it stands; its status is recorded and proves nothing."""
    rows = () if problem.rows is None else tuple(problem.rows.each())
    if any(not len(row.index) and (row.lower, row.upper) != (None, None) for row in rows):
        return Answer(None, stats={"claimed": "infeasible: a row without variables"})
    model = BackendModel(
        start=problem.start,
        objective=problem.value,
        value=problem.value,
        cost=problem.cost,
        slack=tuple(int(limit) for limit in problem.budget),
        slack_price=np.zeros(problem.n_resources),
        hint=warm,
        rows=tuple(row for row in rows if len(row.index)),
        n_auxiliary=0 if problem.rows is None else problem.rows.n_auxiliary,
    )
    try:
        outcome = backend(model, seconds)
    except KeyboardInterrupt:
        outcome = Outcome(None, False, "interrupted", interrupted=True)
    except OutOfTime as error:
        outcome = Outcome(None, False, f"no answer in time: {error}")
    stats: dict[str, Any] = {"claimed": outcome.claimed}
    if outcome.interrupted:
        stats["interrupted"] = True
    return Answer(outcome.choice, stats=stats, auxiliary=outcome.auxiliary)
