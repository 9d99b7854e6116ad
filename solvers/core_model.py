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
    from numpy.typing import NDArray

    from .problem import Problem
    from .reduce import Reduction

GAP_UNITS = 2.0**22  # a tolerance of 1e-6 is then 2.4e-13 of the gap
_CUTS = 20  # selections beyond the budget that a backend may offer before it is given up


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
    forbidden
        Selections (``(n_groups,)`` int64) that must not be returned again: they exceeded a budget by a rounding.
    """

    start: NDArray[np.int64]
    objective: NDArray[np.float64]
    value: NDArray[np.float64]
    cost: NDArray[np.int64]
    slack: tuple[int, ...]
    slack_price: NDArray[np.float64]
    hint: NDArray[np.int64] | None = None
    forbidden: tuple[NDArray[np.int64], ...] = ()

    @property
    def n_groups(self) -> int:
        """How many groups there are."""
        return len(self.start) - 1

    def over_budget(self, choice: NDArray[np.int64]) -> bool:
        """Whether a selection, as indices into the choices, exceeds a budget."""
        return any(int(used) > left for used, left in zip(self.cost[:, choice].sum(axis=1), self.slack, strict=True))


@dataclasses.dataclass(frozen=True, eq=False)
class Outcome:
    """What a backend says of a `CoreModel`: indices into its choices or None, whether it is done, and its own word."""

    choice: NDArray[np.int64] | None
    complete: bool
    claimed: str
    resolution: float = 0.0  # in units of the objective


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
    model, unit = _reduced_model(reduction)
    outcome = Outcome(None, False, "not called")
    for _ in range(_CUTS):
        outcome = backend(model, max(deadline - time.perf_counter(), 0.01))
        if outcome.choice is None or not model.over_budget(outcome.choice):
            break
        model = dataclasses.replace(model, forbidden=(*model.forbidden, outcome.choice))
        outcome = dataclasses.replace(outcome, choice=None, complete=False)
    stats |= {"claimed": outcome.claimed, "selections_cut_off": len(model.forbidden)}
    choice = reduction.incumbent
    if outcome.choice is not None:
        found = reduction.expand(reduction.core.position[outcome.choice])
        if choice is None or _total(problem, found) < _total(problem, choice):
            choice = found
    resolution = max(reduction.noise, outcome.resolution * unit)
    return Answer(choice, outcome.complete, reduction.price, resolution, stats)


def solve_raw(problem: Problem, backend: Backend, seconds: float, warm: NDArray[np.int64] | None) -> Answer:
    """Give the backend the problem as it stands; its word is kept, not believed."""
    model = CoreModel(
        start=problem.start,
        objective=problem.value,
        value=problem.value,
        cost=problem.cost,
        slack=tuple(int(limit) for limit in problem.budget),
        slack_price=np.zeros(problem.n_resources),
        hint=warm,
    )
    outcome = backend(model, seconds)
    return Answer(outcome.choice, stats={"claimed": outcome.claimed})


def largest_in_group(model: CoreModel, x: NDArray[np.float64]) -> NDArray[np.int64]:
    """``(n_groups,)`` the index of the largest entry of each group: a selection, whatever the backend's tolerances."""
    group = np.repeat(np.arange(model.n_groups), np.diff(model.start))
    order = np.lexsort((-x, group))
    return np.asarray(order[model.start[:-1]], dtype=np.int64)


def _reduced_model(reduction: Reduction) -> tuple[CoreModel, float]:
    """The core in gap units, and what one unit is in values."""
    core = reduction.core
    gap = reduction.gap if math.isfinite(reduction.gap) else float(core.reduced.max(initial=0.0))
    unit = gap / GAP_UNITS
    units = 1.0 / unit if unit else 1.0
    cost, slack, price = core.cost.copy(), [], []
    for resource, left in enumerate(core.slack):
        divisor = int(np.gcd.reduce(core.cost[resource])) or 1
        cost[resource] //= divisor
        slack.append(left // divisor)
        price.append(float(reduction.price[resource]) * divisor * units)
    hint = None
    if reduction.incumbent is not None:
        chosen = np.zeros(int(max(core.position.max(initial=0), reduction.incumbent.max())) + 1, dtype=bool)
        chosen[reduction.incumbent] = True
        hint = largest_hint(core.start, chosen[core.position])
    model = CoreModel(core.start, core.reduced * units, core.value * units, cost, tuple(slack), np.array(price), hint)
    return model, unit


def largest_hint(start: NDArray[np.int64], chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The chosen index of each group, or its first (the reference) where the chosen one was fixed away."""
    index = start[:-1].copy()
    group = np.repeat(np.arange(len(start) - 1), np.diff(start))
    index[group[chosen]] = np.flatnonzero(chosen)
    return index


def _total(problem: Problem, selection: NDArray[np.int64]) -> float:
    return math.fsum(problem.value[selection].tolist())
