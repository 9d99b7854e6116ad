"""Reduction: dominance, linear relaxation and reduced-cost fixing leave a small core for the exact solvers.

All comparisons are made in gap space (Pisinger 1995, *A minimal algorithm for the multiple-choice knapsack problem*):
with the reduced cost ``r_j = value_j + price . cost_j`` less the least of its group, every selection is worth
``bound + sum r + price . slack``, a sum of terms that are not negative. What exceeds the gap between incumbent and
bound cannot be part of anything better, whatever the scale of the values.
"""

from __future__ import annotations

import dataclasses
import math
import time
from typing import TYPE_CHECKING

import numpy as np

from ..bounds.bound import PRICED_BY_PIVOTS, best_price, relax_one_budget
from ..bounds.dominance import undominated_choices
from ..bounds.gap import in_turn, unit_of
from ..bounds.lagrangian import EPS, charge
from ..kernels.dispatch import compiled, plain
from ..problem.arrays import least_of, run_bounds
from .gap_space import RelativeChoices
from .incumbent import PAIRS_UP_TO, best_changes, fill, improve, repair
from .lattice import least_total

if TYPE_CHECKING:
    from types import ModuleType

    from numpy.typing import NDArray

    from ..problem.problem import Problem

_GRACE = 0.1  # seconds past the deadline that finding a first selection is worth


@dataclasses.dataclass(frozen=True, eq=False)
class Core:
    """The groups that still have a choice, relative to the reference selection.

    Attributes
    ----------
    group
        ``(n_core,)`` int64 groups of the problem.
    start
        ``(n_core + 1,)`` int64 where each group's choices begin; the first choice of each is the reference.
    position
        ``(n,)`` int64 positions in the problem.
    value
        ``(n,)`` float64 value above the reference's.
    cost
        ``(n_resources, n)`` int64 cost above the reference's.
    reduced
        ``(n,)`` float64 reduced costs, at least 0.
    slack
        Budget less the cost of the reference, one exact integer per resource; may be negative.
    least_total
        No selection has a sum of reduced costs and unused budget, at its price, below this.
    """

    group: NDArray[np.int64]
    start: NDArray[np.int64]
    position: NDArray[np.int64]
    value: NDArray[np.float64]
    cost: NDArray[np.int64]
    reduced: NDArray[np.float64]
    slack: tuple[int, ...]
    least_total: float = 0.0


@dataclasses.dataclass(frozen=True, eq=False)
class Reduction:
    """What reduction leaves of a problem.

    Attributes
    ----------
    price
        ``(n_resources,)`` float64 multipliers.
    reference
        ``(n_groups,)`` int64 positions of the cheapest choices at that price; not within the budgets, in general,
        when there are several.
    incumbent
        ``(n_groups,)`` int64 positions of the best selection found within the budgets, or None.
    gap
        Value of the incumbent less the Lagrangian bound, computed without cancellation; ``inf`` without one.
    noise
        Differences of values below this are rounding.
    least_gain
        No selection is better than the incumbent by less than this: the noise, or nearly the unit of which all values
        are multiples.
    core
        What is left to decide.
    """

    price: NDArray[np.float64]
    reference: NDArray[np.int64]
    incumbent: NDArray[np.int64] | None
    gap: float
    noise: float
    least_gain: float
    core: Core

    @property
    def closed(self) -> bool:
        """Whether the incumbent is proved optimal by the bound alone, to rounding."""
        return self.gap - self.least_gain < max(self.core.least_total, 0.0) or self.gap <= self.least_gain

    def expand(self, core_position: NDArray[np.int64]) -> NDArray[np.int64]:
        """The whole selection, given the position chosen in each group of the core."""
        selection = self.reference.copy()
        selection[self.core.group] = core_position
        return selection


def reduce(problem: Problem, warm: NDArray[np.int64] | None = None, deadline: float = math.inf) -> Reduction:
    """Reduce a problem in which every budget by itself can be met.

    Parameters
    ----------
    problem
        The problem.
    warm
        ``(n_groups,)`` int64 positions of a selection to start from, or None; used where it is within the budgets.
    deadline
        `time.perf_counter` reading after which selections are no longer improved, and soon no longer looked for.

    Returns
    -------
    reduction
        Price, incumbent, gap and core. Every selection within the budgets that is better than the incumbent by more
        than the noise lies in the core.
    """
    kernels = compiled()
    if kernels is None or problem.n_resources > PRICED_BY_PIVOTS:
        return reduce_in_numpy(problem, warm, deadline)
    if problem.n_resources == 1:
        return _reduce_compiled(problem, warm, kernels)
    return _reduce_several_compiled(problem, warm, deadline, kernels)


def reduce_in_numpy(problem: Problem, warm: NDArray[np.int64] | None, deadline: float) -> Reduction:
    """What `reduce` does, in NumPy."""
    allowed = undominated_choices(problem)
    starts = [] if warm is None else [warm]
    if problem.n_resources == 1:
        hull, rate = relax_one_budget(problem, allowed)
        price, reference = np.array([rate]), fill(problem, hull, rate)  # tied choices are equally cheap
        del hull  # with a million groups every array counts
    else:
        price = best_price(problem, deadline=deadline)
        reference = _cheapest(problem, allowed, price)
        repaired = repair(problem, reference, price, allowed=allowed, deadline=deadline + _GRACE)
        starts += [] if repaired is None else [repaired]
    relative = RelativeChoices.of(problem, allowed, reference, price)
    incumbent, gap = _incumbent(problem, relative, starts, deadline)
    core = _core(problem, relative, gap)
    noise = _noise(core, relative.price)
    unit = 0.0
    if incumbent is not None:
        own = problem.value[incumbent] - problem.value[relative.reference]
        unit = unit_of(np.concatenate([core.value, own]))
    return _reduction(relative.price, relative.reference, incumbent, gap, noise, unit, core)


class _Room:
    """Arrays that a kernel writes a reduction to.

    Attributes
    ----------
    arrays
        Reference, incumbent, and the group, start, position, cost, value and reduced costs of the core.
    """

    def __init__(self, problem: Problem) -> None:
        n, n_groups = problem.n_choices, problem.n_groups
        self._n_resources = problem.n_resources
        reference, incumbent, group = np.empty((3, n_groups), dtype=np.int64)
        start, position = np.empty(n_groups + 1, dtype=np.int64), np.empty(n, dtype=np.int64)
        value, reduced = np.empty((2, n))
        cost = np.empty(n * problem.n_resources, dtype=np.int64)
        self.arrays = (reference, incumbent, group, start, position, cost, value, reduced)

    def core(self, groups: int, choices: int, slack: tuple[int, ...]) -> Core:
        """The core that the kernel wrote."""
        _, _, group, start, position, cost, value, reduced = self.arrays
        return Core(
            group=group[:groups],
            start=start[: groups + 1],
            position=position[:choices],
            value=value[:choices],
            cost=cost[: choices * self._n_resources].reshape(self._n_resources, choices),
            reduced=reduced[:choices],
            slack=slack,
        )


def _reduce_compiled(problem: Problem, warm: NDArray[np.int64] | None, kernels: ModuleType) -> Reduction:
    room = _Room(problem)
    price, gap, noise, unit, groups, choices, slack = kernels.reduce_one_budget(
        problem.value,
        plain(problem.cost),
        problem.start,
        *room.arrays,
        None if warm is None else plain(warm),
        int(problem.budget[0]),
        PAIRS_UP_TO,
    )
    core = room.core(groups, choices, (slack,))
    return _reduction(np.array([price]), *room.arrays[:2], gap, noise, unit, core)


def _reduce_several_compiled(
    problem: Problem, warm: NDArray[np.int64] | None, deadline: float, kernels: ModuleType
) -> Reduction:
    room, price, slack = _Room(problem), np.empty(problem.n_resources), np.empty(problem.n_resources, dtype=np.int64)
    left = max(deadline - time.perf_counter(), 0.0)
    gap, noise, unit, groups, choices, is_feasible = kernels.reduce_several_budgets(
        problem.value,
        plain(problem.cost),
        problem.start,
        *room.arrays,
        plain(problem.budget),
        problem.fits,
        price,
        slack,
        None if warm is None else plain(warm),
        PAIRS_UP_TO,
        left,
        _GRACE,
    )
    core = room.core(groups, choices, tuple(slack.tolist()))
    reference, incumbent = room.arrays[:2]
    return _reduction(price, reference, incumbent if is_feasible else None, gap, noise, unit, core)


def _reduction(
    price: NDArray[np.float64],
    reference: NDArray[np.int64],
    incumbent: NDArray[np.int64] | None,
    gap: float,
    noise: float,
    unit: float,
    core: Core,
) -> Reduction:
    """The reduction, with what the unit of all values, if any, says of the gain of a better selection."""
    least_gain = max(noise, unit - 2 * noise)
    if unit and len(price) == 1 and least_gain > noise and len(core.position):
        least = least_total(core.value, core.cost[0], float(price[0]), core.slack[0], unit)
        core = dataclasses.replace(core, least_total=max(least - 2 * noise, 0.0))
    return Reduction(price, reference, incumbent, gap, noise, least_gain, core)


def gap_of(
    problem: Problem, selection: NDArray[np.int64], reference: NDArray[np.int64], price: NDArray[np.float64]
) -> float:
    """Value of a selection less the Lagrangian bound, as a sum of terms that are not negative.

    Parameters
    ----------
    problem
        The problem.
    selection
        ``(n_groups,)`` int64 positions within the budgets.
    reference
        ``(n_groups,)`` int64 positions of the cheapest choices at the price.
    price
        ``(n_resources,)`` float64.

    Returns
    -------
    gap
        float, at least 0.
    """
    changed = (selection != reference).nonzero()[0]
    new, old = selection[changed], reference[changed]
    regret = problem.value[new] - problem.value[old] + charge(price, problem.cost[:, new] - problem.cost[:, old])
    slack = problem.budget - problem.cost[:, selection].sum(axis=1)
    return in_turn(np.maximum(regret, 0.0)) + in_turn(price * slack)


def _cheapest(problem: Problem, allowed: NDArray[np.int64], price: NDArray[np.float64]) -> NDArray[np.int64]:
    """``(n_groups,)`` positions of the cheapest allowed choice of each group at a price; of equal ones the first."""
    group = problem.group[allowed]
    penalised = problem.value[allowed] + charge(price, problem.cost[:, allowed])
    least = np.minimum.reduceat(penalised, run_bounds(group)[:-1])
    at = (penalised == least[group]).nonzero()[0][::-1]
    reference = np.empty(problem.n_groups, dtype=np.int64)
    reference[group[at]] = allowed[at]
    return reference


def _incumbent(
    problem: Problem, relative: RelativeChoices, starts: list[NDArray[np.int64]], deadline: float
) -> tuple[NDArray[np.int64] | None, float]:
    """The best start within the budgets, improved by the choices that can be part of anything better, and its gap."""
    gap, best = float("inf"), None
    if problem.n_resources == 1:
        gap, best = float(relative.price[0] * relative.slack[0]), relative.reference
    for start in starts:
        if (problem.cost[:, start].sum(axis=1) <= problem.budget).all():
            own = gap_of(problem, start, relative.reference, relative.price)
            if own < gap or best is None:
                gap, best = own, start
    if best is None or gap <= 0:
        return best, gap
    near = (relative.reduced <= gap).nonzero()[0]
    if problem.n_resources == 1:
        near = near[~relative.is_reference[near]]
    if len(near) > PAIRS_UP_TO:
        near = near[least_of(relative.reduced[near], PAIRS_UP_TO)]
    if problem.n_resources == 1:
        some = relative.value[near], relative.cost[0, near], relative.group[near]
        improved = relative.with_changes(near[best_changes(*some, relative.slack[0])])
    else:
        improved = improve(problem, best, allowed=relative.position[near], deadline=deadline)
    own = gap_of(problem, improved, relative.reference, relative.price)
    return (improved, own) if own < gap else (best, gap)


def _noise(core: Core, price: NDArray[np.float64]) -> float:
    """A few roundings of the largest term of each group that can still change."""
    if not len(core.group):
        return 0.0
    size = charge(price, np.abs(core.cost))
    size += np.abs(core.value)
    return 4 * EPS * in_turn(np.maximum.reduceat(size, core.start[:-1]))


def _core(problem: Problem, relative: RelativeChoices, gap: float) -> Core:
    """The groups in which a choice other than the reference is within the gap, references first."""
    other = relative.reduced <= gap
    other &= ~relative.is_reference
    members = np.zeros(problem.n_groups, dtype=bool)
    members[relative.group[other]] = True
    kept = (other | (relative.is_reference & members[relative.group])).nonzero()[0]
    group, is_reference = relative.group[kept], relative.is_reference[kept]
    start = run_bounds(group)
    # The reference moves to the front of its group, those before it one place on.
    own = is_reference.nonzero()[0]
    place = np.arange(len(kept))
    place += place < own.repeat(start[1:] - start[:-1])
    place[own] = start[:-1]
    order = np.empty(len(kept), dtype=np.int64)
    order[place] = kept
    return Core(
        group=group[start[:-1]],
        start=start,
        position=relative.position[order],
        value=relative.value[order],
        cost=relative.cost[:, order],
        reduced=relative.reduced[order],
        slack=relative.slack,
    )
