"""What the general solvers receive: the core in gap units, or the raw problem; and what becomes of their answers.

General solvers work with absolute tolerances, which losses of 1e-3 to 1e-9 slip through. In gap units (reduced costs
over the gap, times `GAP_UNITS`) the same tolerances are tiny parts of the only differences that matter.
"""

from __future__ import annotations

import dataclasses
import math
import time
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from .reduce import reduce
from .solution import Answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from .problem import Problem
    from .reduce import Core
    from .rows import IntegerRow

GAP_UNITS = 2.0**22  # a tolerance of 1e-6 is then 2.4e-13 of the gap
_CUTS = 20  # untrue selections that a backend may offer before it is given up


@dataclasses.dataclass(frozen=True, eq=False)
class CoreModel:
    """Minimise ``objective . x + slack_price . s`` over one choice per group, where ``cost x + s = slack``, ``s >= 0``.

    Attributes
    ----------
    start
        ``(n_groups + 1,)`` int64 where each group's choices begin.
    objective
        ``(n,)`` float64, at least 0 in a reduced model.
    value
        ``(n,)`` float64, the same minimisation without slack terms: ``value . x``, in the same units.
    cost
        ``(n_resources, n)`` int64 in the units left after division by the common divisor; negative entries shed cost.
    slack
        One integer per resource in those units; may be negative.
    slack_price
        ``(n_resources,)`` float64 per unit left unused.
    hint
        ``(n_groups,)`` int64 index of a good choice in each group, or None.
    rows
        Further constraints on the choices and, behind them, on the auxiliary binaries.
    n_auxiliary
        How many auxiliary binaries there are.
    forbidden
        Selections that must not be returned again: they exceeded a budget, or broke a row, by a rounding.
    """

    start: NDArray[np.int64]
    objective: NDArray[np.float64]
    value: NDArray[np.float64]
    cost: NDArray[np.int64]
    slack: tuple[int, ...]
    slack_price: NDArray[np.float64]
    hint: NDArray[np.int64] | None = None
    rows: tuple[IntegerRow, ...] = ()
    n_auxiliary: int = 0
    forbidden: tuple[Forbidden, ...] = ()

    @property
    def n_groups(self) -> int:
        """How many groups there are."""
        return len(self.start) - 1

    def over_budget(self, choice: NDArray[np.int64]) -> bool:
        """Whether a selection, as indices into the choices, exceeds a budget."""
        return any(int(used) > left for used, left in zip(self.cost[:, choice].sum(axis=1), self.slack, strict=True))

    def without(self, outcome: Outcome) -> CoreModel:
        """The same model with the selection of an outcome, and the auxiliary binaries that go with it, forbidden."""
        if outcome.choice is None:
            return self
        n, given = len(self.objective), outcome.auxiliary
        auxiliary = np.zeros(self.n_auxiliary, dtype=np.int64) if given is None else given
        pattern = Forbidden(
            np.append(outcome.choice, n + np.flatnonzero(auxiliary)), n + np.flatnonzero(auxiliary == 0)
        )
        return dataclasses.replace(self, forbidden=(*self.forbidden, pattern))


@dataclasses.dataclass(frozen=True, eq=False)
class Forbidden:
    """Binaries that must not all be one (`ones`) and zero (`zeros`) at once; the zeros are auxiliary binaries."""

    ones: NDArray[np.int64]
    zeros: NDArray[np.int64]


@dataclasses.dataclass(frozen=True, eq=False)
class Outcome:
    """What a backend says of a `CoreModel`.

    Attributes
    ----------
    choice
        ``(n_groups,)`` int64 indices into its choices, or None.
    complete
        The backend says that it is done.
    claimed
        Its own word.
    resolution
        How finely it told selections apart, in units of the objective.
    auxiliary
        ``(n_auxiliary,)`` int64 zeros and ones that go with the choice, where the model has such.
    interrupted
        The user stopped it.
    """

    choice: NDArray[np.int64] | None
    complete: bool
    claimed: str
    resolution: float = 0.0
    auxiliary: NDArray[np.int64] | None = None
    interrupted: bool = False


class Backend(Protocol):
    """Solves one model; the only thing an adapter has to bring."""

    def __call__(self, model: CoreModel, seconds: float) -> Outcome:
        """Minimise within so many seconds."""
        ...


def solve_reduced(problem: Problem, backend: Backend, seconds: float, warm: NDArray[np.int64] | None) -> Answer:
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

    Returns
    -------
    answer
        Positions in the problem; complete where the backend exhausted the core. A selection of the backend that
        exceeds a budget by a rounding is forbidden and the search repeated, so nothing feasible is cut off.
    """
    deadline = time.perf_counter() + seconds
    reduction = reduce(problem, warm)
    stats: dict[str, Any] = {
        "core_groups": len(reduction.core.group),
        "core_choices": len(reduction.core.position),
    }
    if reduction.closed or not len(reduction.core.group):
        return Answer(reduction.incumbent, True, reduction.price, reduction.noise, stats)
    model, unit = gap_model(reduction.core, reduction.price, reduction.gap, reduction.incumbent)
    outcome, model = search(model, backend, deadline, lambda _: True)
    stats |= {"claimed": outcome.claimed, "selections_cut_off": len(model.forbidden)}
    if outcome.interrupted:
        stats["interrupted"] = True
    choice = reduction.incumbent
    if outcome.choice is not None:
        found = reduction.expand(reduction.core.position[outcome.choice])
        if choice is None or _total(problem, found) < _total(problem, choice):
            choice = found
    resolution = max(reduction.noise, outcome.resolution * unit)
    return Answer(choice, outcome.complete, reduction.price, resolution, stats)


def search(
    model: CoreModel, backend: Backend, deadline: float, allowed: Callable[[Outcome], bool]
) -> tuple[Outcome, CoreModel]:
    """Ask a backend again and again until what it offers is true in exact integers, or the user interrupts.

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
        The last outcome, without a selection where none was true.
    model
        The model with all those forbidden that were not.
    """
    outcome = Outcome(None, False, "not called")
    for _ in range(_CUTS):
        try:
            outcome = backend(model, max(deadline - time.perf_counter(), 0.01))
        except KeyboardInterrupt:
            return Outcome(None, False, "interrupted", interrupted=True), model
        if outcome.choice is None or (not model.over_budget(outcome.choice) and allowed(outcome)):
            break
        model = model.without(outcome)
        outcome = dataclasses.replace(outcome, choice=None, complete=False)
        if outcome.interrupted:
            break
    return outcome, model


def solve_raw(problem: Problem, backend: Backend, seconds: float, warm: NDArray[np.int64] | None) -> Answer:
    """Give the backend the problem as it stands; its word is kept, not believed."""
    rows = () if problem.rows is None else tuple(problem.rows.each())
    if any(not len(row.index) and (row.lower, row.upper) != (None, None) for row in rows):
        return Answer(None, stats={"claimed": "infeasible: a row without variables"})
    model = CoreModel(
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
    stats: dict[str, Any] = {"claimed": outcome.claimed}
    if outcome.interrupted:
        stats["interrupted"] = True
    return Answer(outcome.choice, stats=stats, auxiliary=outcome.auxiliary)


def largest_in_group(model: CoreModel, x: NDArray[np.float64]) -> NDArray[np.int64]:
    """``(n_groups,)`` the index of the largest entry of each group: a selection, whatever the backend's tolerances."""
    group = np.repeat(np.arange(model.n_groups), np.diff(model.start))
    order = np.lexsort((-x, group))
    return np.asarray(order[model.start[:-1]], dtype=np.int64)


def gap_model(
    core: Core, price: NDArray[np.float64], gap: float, incumbent: NDArray[np.int64] | None
) -> tuple[CoreModel, float]:
    """State a core in gap units.

    Parameters
    ----------
    core
        The core.
    price
        ``(n_resources,)`` float64.
    gap
        Value of the incumbent less the Lagrangian bound; ``inf`` without one.
    incumbent
        ``(n_groups,)`` int64 positions in the problem, for the hint; or None.

    Returns
    -------
    model
        The model.
    unit
        What one of its units is in values.
    """
    if not math.isfinite(gap):
        charge = price * np.abs(core.cost).max(axis=1, initial=0)  # what one choice may leave unused
        gap = max(float(core.reduced.max(initial=0.0)), float(charge.max()))
    unit = gap / GAP_UNITS
    units = 1.0 / unit if unit else 1.0
    cost, slack, slack_price = core.cost.copy(), [], []
    for resource, left in enumerate(core.slack):
        divisor = int(np.gcd.reduce(core.cost[resource])) or 1
        cost[resource] //= divisor
        slack.append(left // divisor)
        slack_price.append(float(price[resource]) * divisor * units)
    hint = None
    if incumbent is not None:
        chosen = np.zeros(int(max(core.position.max(initial=0), incumbent.max())) + 1, dtype=bool)
        chosen[incumbent] = True
        hint = largest_hint(core.start, chosen[core.position])
    model = CoreModel(
        core.start, core.reduced * units, core.value * units, cost, tuple(slack), np.array(slack_price), hint
    )
    return model, unit


def largest_hint(start: NDArray[np.int64], chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The chosen index of each group, or its first (the reference) where the chosen one was fixed away."""
    index = start[:-1].copy()
    group = np.repeat(np.arange(len(start) - 1), np.diff(start))
    index[group[chosen]] = np.flatnonzero(chosen)
    return index


def _total(problem: Problem, selection: NDArray[np.int64]) -> float:
    return math.fsum(problem.value[selection].tolist())
