"""Reduction: dominance, linear relaxation and reduced-cost fixing leave a small core that every exact solver shares.

All comparisons are made in gap space (Pisinger 1995, *A minimal algorithm for the multiple-choice knapsack problem*):
with the reduced cost ``r_j = value_j + price . cost_j`` less the least of its group, every selection is worth
``bound + sum r + price . slack``, a sum of terms that are not negative. What exceeds the gap between incumbent and
bound cannot be part of anything better, whatever the scale of the values.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np

from .bound import best_price, relax_one_budget
from .hull import undominated
from .incumbent import PAIRS_UP_TO, fill, improve, repair
from .lagrangian import EPS
from .lattice import least_total

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .problem import Problem

_PAIRS_AT_ONCE = 2_000_000  # pairs of choices compared in one go when looking for dominated ones


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


def reduce(problem: Problem, warm: NDArray[np.int64] | None = None) -> Reduction:
    """Reduce a problem in which every budget by itself can be met.

    Parameters
    ----------
    problem
        The problem.
    warm
        ``(n_groups,)`` int64 positions of a selection to start from, or None; used where it is within the budgets.

    Returns
    -------
    reduction
        Price, incumbent, gap and core. Every selection within the budgets that is better than the incumbent by more
        than the noise lies in the core.
    """
    allowed = _undominated(problem)
    starts = [] if warm is None else [warm]
    if problem.n_resources == 1:
        hull, rate = relax_one_budget(problem, allowed)
        price = np.array([rate])
        starts.append(fill(problem, hull, rate))
    else:
        price = best_price(problem)
    reference, relative_value, relative_cost, reduced = _reduced_costs(problem, allowed, price)
    slack = problem.budget - problem.cost[:, reference].sum(axis=1)
    if problem.n_resources > 1:
        repaired = repair(problem, reference, price, allowed=allowed)
        starts += [] if repaired is None else [repaired]
    incumbent = _incumbent(problem, reference, price, allowed, reduced, starts)
    gap = float("inf")
    if incumbent is not None:
        gap = gap_of(problem, incumbent, reference, price)
    alive = reduced <= gap
    noise = _noise(problem.group[allowed[alive]], relative_value[alive], price @ np.abs(relative_cost[:, alive]))
    least_gain, unit = noise, 0.0
    if incumbent is not None:
        own = problem.value[incumbent] - problem.value[reference]
        unit = _unit(np.concatenate([relative_value[alive], own]))
        least_gain = max(noise, unit - 2 * noise)
    alive = reduced <= gap - least_gain
    core = _core(problem, allowed, alive, reference, relative_value, relative_cost, reduced, slack)
    if problem.n_resources == 1 and least_gain > noise and len(core.position):
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
    value = problem.value[selection] - problem.value[reference]
    cost = problem.cost[:, selection] - problem.cost[:, reference]
    slack = problem.budget - problem.cost[:, selection].sum(axis=1)
    return float(np.maximum(value + price @ cost, 0.0).sum() + price @ slack)


def _undominated(problem: Problem) -> NDArray[np.int64]:
    if problem.n_resources == 1:
        return undominated(problem.value, problem.cost[0], problem.start)
    keep = np.ones(problem.n_choices, dtype=bool)
    for size in np.unique(problem.size):
        begin = problem.start[:-1][problem.size == size]
        block = max(1, _PAIRS_AT_ONCE // int(size) ** 2)
        for at in range(0, len(begin), block):
            index = begin[at : at + block, None] + np.arange(size)
            keep[index.ravel()] = ~_dominated(problem.value[index], problem.cost[:, index]).ravel()
    return np.flatnonzero(keep)


def _dominated(value: NDArray[np.float64], cost: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which choices of equal-sized groups are beaten or equalled throughout; of equal ones the first stays."""
    size = value.shape[1]
    no_worse = value[:, None, :] <= value[:, :, None]
    equal = value[:, None, :] == value[:, :, None]
    for row in cost:
        no_worse &= row[:, None, :] <= row[:, :, None]
        equal &= row[:, None, :] == row[:, :, None]
    earlier = np.arange(size)[None, :] < np.arange(size)[:, None]
    result: NDArray[np.bool_] = (no_worse & (~equal | earlier)).any(axis=2)
    return result


def _reduced_costs(
    problem: Problem, allowed: NDArray[np.int64], price: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
    """Reference selection, and value, cost and reduced cost of the allowed choices relative to it."""
    group = problem.group[allowed]
    begin = np.flatnonzero(np.diff(group, prepend=-1))
    penalised = problem.value[allowed] + price @ problem.cost[:, allowed]
    least = np.minimum.reduceat(penalised, begin)
    at = np.where(penalised == least[group], np.arange(len(allowed)), len(allowed))
    reference = allowed[np.minimum.reduceat(at, begin)]
    # Differences first: they cancel exactly what the group has in common, so small groups keep their digits.
    value = problem.value[allowed] - problem.value[reference][group]
    cost = problem.cost[:, allowed] - problem.cost[:, reference][:, group]
    return reference, value, cost, np.maximum(value + price @ cost, 0.0)


def _incumbent(
    problem: Problem,
    reference: NDArray[np.int64],
    price: NDArray[np.float64],
    allowed: NDArray[np.int64],
    reduced: NDArray[np.float64],
    starts: list[NDArray[np.int64]],
) -> NDArray[np.int64] | None:
    """The best start within the budgets, improved by the choices that can be part of anything better."""
    gap, best = float("inf"), None
    for start in starts:
        if (problem.cost[:, start].sum(axis=1) <= problem.budget).all():
            own = gap_of(problem, start, reference, price)
            if own < gap or best is None:
                gap, best = own, start
    if best is None:
        return None
    near = np.flatnonzero(reduced <= gap)
    if len(near) > PAIRS_UP_TO:
        near = np.sort(near[np.argpartition(reduced[near], PAIRS_UP_TO)[:PAIRS_UP_TO]])
    return improve(problem, best, allowed=allowed[near])


def _noise(group: NDArray[np.int64], value: NDArray[np.float64], charge: NDArray[np.float64]) -> float:
    """A few roundings of the largest term of each group that can still change."""
    if not len(group):
        return 0.0
    begin = np.flatnonzero(np.diff(group, prepend=-1))
    return 4 * EPS * float(np.maximum.reduceat(np.abs(value) + charge, begin).sum())


def _unit(value: NDArray[np.float64]) -> float:
    """The largest number of which all values are multiples, to 53 bits of the largest; 0 where there is none."""
    largest = float(np.abs(value).max(initial=0.0))
    if not largest:
        return 0.0
    exponent = 53 - math.frexp(largest)[1]
    scaled = np.ldexp(value, exponent)
    whole = np.rint(scaled)
    if (whole != scaled).any():
        return 0.0
    return math.ldexp(float(np.gcd.reduce(whole.astype(np.int64))), -exponent)


def _core(
    problem: Problem,
    allowed: NDArray[np.int64],
    alive: NDArray[np.bool_],
    reference: NDArray[np.int64],
    value: NDArray[np.float64],
    cost: NDArray[np.int64],
    reduced: NDArray[np.float64],
    slack: NDArray[np.int64],
) -> Core:
    group = problem.group[allowed]
    is_reference = allowed == reference[group]
    other = alive & ~is_reference
    members = np.zeros(problem.n_groups, dtype=bool)
    members[group[other]] = True
    keep = np.flatnonzero(other | (is_reference & members[group]))
    keep = keep[np.lexsort((~is_reference[keep], group[keep]))]
    kept_group = group[keep]
    begin = np.flatnonzero(np.diff(kept_group, prepend=-1))
    return Core(
        group=kept_group[begin],
        start=np.append(begin, len(keep)),
        position=allowed[keep],
        value=value[keep],
        cost=cost[:, keep],
        reduced=reduced[keep],
        slack=tuple(int(left) for left in slack),
    )
