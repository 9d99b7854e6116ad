"""How far a selection is from what a price proves, and which differences of values count as rounding.

Both are counted from a reference: what all choices of a group have in common enters neither.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np

from ..kernels.dispatch import compiled, plain
from .lagrangian import EPS, bound_from, cheapest_at, lagrangian_bound
from .normal_form import is_exact_difference

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..problem.problem import Problem
    from .lagrangian import Cheapest

# Prices and sums are rounded; selections closer than this part of the differences that decide count as equal. Twice it
# is below 1e-12, so nothing counts as equal that is further apart than 1e-12 of the magnitudes.
TOLERANCE = 4e-13
_MOST_UNITS = 2**53  # whole multiples of a unit that add up to less are added exactly


@dataclasses.dataclass(frozen=True)
class Gap:
    """The value of a selection less what a price proves, and what of it is rounding.

    Attributes
    ----------
    size
        No feasible selection is better by more than this; rounded up.
    tolerance
        Where the gap is no larger than this, it is rounding.
    bound
        What the price proves: `lagrangian.lagrangian_bound`.
    """

    size: float
    tolerance: float
    bound: float

    @property
    def closed(self) -> bool:
        """Whether the price proves the selection optimal."""
        return self.size <= self.tolerance


def dual_gap(
    problem: Problem,
    choice: NDArray[np.int64],
    price: NDArray[np.float64],
    split: NDArray[np.float64] | None = None,
    cheapest: Cheapest | None = None,
    unit: float | None = None,
) -> Gap:
    """The gap of a selection at a price.

    Without pairwise terms it is a sum over the groups in which the selection differs from the cheapest one at the
    price, or is nearly tied, and of the unused budget at the price.

    Parameters
    ----------
    problem
        The problem.
    choice
        ``(n_groups,)`` int64 positions within the budgets.
    price
        ``(n_resources,)`` float64, at least 0.
    split
        Of a problem with pairwise terms: see `lagrangian.reparametrise`.
    cheapest
        The cheapest selection at the price, where it is known already.
    unit
        `whole_unit`, where it is known already.

    Returns
    -------
    gap
        Infinite where the terms overflow.
    """
    if problem.pairs is not None:
        value = math.fsum(problem.terms(choice))
        terms = math.fsum(map(abs, problem.pairs.among(choice)))
        rounding = TOLERANCE * (terms + math.fsum(spread_of(problem).tolist()))
        bound = lagrangian_bound(problem, price, split)
        return Gap(value - bound, rounding, bound)
    if cheapest is None:
        cheapest = cheapest_at(problem, problem.value, None if problem.all_fit else problem.fits, price)
    if cheapest is None:
        return Gap(math.inf, 0.0, -math.inf)
    apart, changes = _deciding(problem, choice, cheapest)
    size = _sum([*changes.tolist(), cheapest.unused, *cheapest.short.tolist()])
    tolerance = _told_apart(problem, TOLERANCE * apart, unit) if size > 0 else 0.0
    return Gap(size, tolerance, bound_from(problem.value, cheapest))


def _deciding(problem: Problem, choice: NDArray[np.int64], cheapest: Cheapest) -> tuple[float, NDArray[np.float64]]:
    """How much the values differ that decide, and the terms by which a selection is worth more than the cheapest.

    The first is a sum over the groups where the selection is not the cheapest, or something is tied with that.
    """
    kernels = compiled()
    if kernels is None:
        return deciding_in_numpy(problem, choice, cheapest)
    terms = np.empty(2 * problem.n_groups)
    own, position = plain(choice), cheapest.position
    decides, count = kernels.deciding(problem.value, problem.start, own, position, cheapest.near, terms)
    return decides, terms[:count]


def deciding_in_numpy(
    problem: Problem, choice: NDArray[np.int64], cheapest: Cheapest
) -> tuple[float, NDArray[np.float64]]:
    """The same in NumPy."""
    own, least = problem.value[choice], problem.value[cheapest.position]
    decides = np.abs(own - least)
    near = cheapest.near
    np.maximum.at(decides, problem.group[near], np.abs(problem.value[near] - own[problem.group[near]]))
    changed = choice != cheapest.position
    return in_turn(decides), np.concatenate([own[changed], -least[changed]])


def in_turn(numbers: NDArray[np.float64]) -> float:
    """Their sum, added from the first to the last: rounded as the kernels round it, on every machine."""
    return float(numbers.cumsum()[-1]) if len(numbers) else 0.0


def same_to_rounding(problem: Problem) -> float:
    """The largest difference of values that can be rounding in any selection of a problem.

    Parameters
    ----------
    problem
        The problem.

    Returns
    -------
    tolerance
        `TOLERANCE` of the sum over groups of how far their values lie apart, and of the pairwise terms; less than the
        unit where all values are whole multiples of one that add up exactly: a gap below the unit then hides nothing.
    """
    spread = spread_of(problem)
    if problem.pairs is not None:
        return TOLERANCE * math.fsum([*spread.tolist(), *np.abs(problem.pairs.value).tolist()])
    return _told_apart(problem, TOLERANCE * float(spread.sum()))


def difference(problem: Problem, better: NDArray[np.int64], worse: NDArray[np.int64]) -> float:
    """By how much one selection is better than another, rounded once.

    Parameters
    ----------
    problem
        The problem.
    better, worse
        ``(n_groups,)`` int64 positions.

    Returns
    -------
    difference
        Negative where `worse` is better.
    """
    if problem.pairs is not None:
        return math.fsum([*problem.terms(worse), *(-each for each in problem.terms(better))])
    changed = better != worse
    return math.fsum([*problem.value[worse[changed]].tolist(), *(-problem.value[better[changed]]).tolist()])


def rounding_of(value: float) -> float:
    """What a stated value, or a bound beside it, may be off: they are single floats, constants included."""
    return 3 * math.ulp(value) if value and math.isfinite(value) else 0.0


def whole_unit(problem: Problem) -> float:
    """The unit of which all values within a group differ by whole multiples that add up exactly; 0 without one.

    Parameters
    ----------
    problem
        The problem; choices that can never fit do not count.

    Returns
    -------
    unit
        A power of two times an odd number, or 0.0. Two selections then differ by nothing or by a unit at least.
    """
    kernels = compiled()
    if kernels is None:
        return whole_unit_in_numpy(problem)
    unit: float = kernels.whole_unit(problem.value, problem.fits, problem.start)
    return unit


def whole_unit_in_numpy(problem: Problem) -> float:
    """What `whole_unit` does, in NumPy."""
    fits = problem.fits
    least = np.minimum.reduceat(np.where(fits, problem.value, np.inf), problem.start[:-1])
    low = least[problem.group]
    value = np.where(fits, problem.value, low)
    if not is_exact_difference(value, low).all():
        return 0.0
    above = value - low
    unit = unit_of(above)
    return unit if unit and float(np.maximum.reduceat(above, problem.start[:-1]).sum()) / unit < _MOST_UNITS else 0.0


def unit_of(value: NDArray[np.float64]) -> float:
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


def _told_apart(problem: Problem, tolerance: float, unit: float | None = None) -> float:
    """The tolerance, kept below the unit of whole values by more than the rounding of the gap beside it."""
    if unit is None:
        unit = whole_unit(problem) if tolerance else 0.0
    return min(tolerance, unit * (1 - 4 * EPS)) if unit else tolerance


def spread_of(problem: Problem) -> NDArray[np.float64]:
    """``(n_groups,)`` how far the values lie apart that a feasible selection can have in each group."""
    fits, begin = problem.fits, problem.start[:-1]
    least = np.minimum.reduceat(np.where(fits, problem.value, np.inf), begin)
    most = np.maximum.reduceat(np.where(fits, problem.value, -np.inf), begin)
    spread: NDArray[np.float64] = most - least
    return spread


def _sum(terms: list[float]) -> float:
    try:
        total = math.fsum(terms)
    except (OverflowError, ValueError):
        return math.inf
    return total if math.isfinite(total) else math.inf
