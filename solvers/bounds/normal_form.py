"""The normal form of a problem: nothing in common, no choices that can never fit, and values in a sound unit.

Differences decide, so what all choices of a group have in common must not enter any sum: a cost of ``2**55`` in every
choice would swallow the values beside it, and so would a value of 1e12. A choice that exceeds a budget even when every
other group costs its least is in no feasible selection, and its value must not set the scale of anything. And values
near the ends of float64 are counted in a power of two, or a product of them would leave it.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np

from ..kernels.dispatch import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..answer import Answer
    from ..problem.problem import Problem


_LARGEST_EXPONENT = 200  # products of values and their inverses stay far inside float64 up to here


@dataclasses.dataclass(frozen=True, eq=False)
class Normal:
    """A problem with the same selections, in the same positions and order of value.

    Attributes
    ----------
    problem
        Costs above the least of their group, budgets above the least total, values times ``2**-exponent``, above the
        least of their group where that outweighs their differences; a choice that can never fit has the largest value
        of those of its group that can.
    exponent
        The power of two that values are counted in; 0 for all values but extreme ones.
    base
        What the values of the original problem have in common and those of this one have not, over all groups.
    original
        The original problem, where there is a base.
    """

    problem: Problem
    exponent: int
    base: float = 0.0
    original: Problem | None = None

    def price(self, price: NDArray[np.float64]) -> NDArray[np.float64]:
        """A price of the normal problem in the units of the original one."""
        scaled: NDArray[np.float64] = np.ldexp(price, self.exponent)
        return scaled

    def restore(self, answer: Answer) -> Answer:
        """An answer to the normal problem as one to the original problem."""
        figures = {name: self._figure(each, answer) for name, each in answer.figures.items()}
        if not self.exponent:
            return dataclasses.replace(answer, figures=figures) if figures else answer
        price = answer.price
        if price is not None and np.asarray(price).dtype == np.float64:
            price = self.price(price)
        # Scaled down, values some 300 orders of magnitude below the largest became whole multiples of the least float.
        terms = self.problem.n_groups + (0 if self.problem.pairs is None else self.problem.pairs.n_pairs)
        lost = terms * math.ulp(0.0) if self.exponent > 0 else 0.0
        return dataclasses.replace(
            answer,
            price=price,
            split=None if answer.split is None else np.ldexp(answer.split, self.exponent),
            resolution=math.ldexp(answer.resolution + lost, self.exponent),
            figures=figures,
            differences={name: float(np.ldexp(each, self.exponent)) for name, each in answer.differences.items()},
        )

    def _figure(self, figure: float, answer: Answer) -> float:
        """A value or a bound of values; rounded down where a base rounds it, unless it is that of the selection."""
        if self.original is None:
            return float(np.ldexp(figure, self.exponent))
        if answer.choice is not None and figure == math.fsum(self.problem.terms(answer.choice)):
            return math.fsum(self.original.terms(answer.choice))
        return math.nextafter(self.base + float(np.ldexp(figure, self.exponent)), -math.inf)


def normalise(problem: Problem) -> Normal:
    """Make the normal problem.

    Parameters
    ----------
    problem
        A problem in which every budget by itself can be met.

    Returns
    -------
    normal
        The normal problem and the unit of its values.
    """
    value, base, exponent = normal_values(problem, problem.value)
    twin = problem.above_least(value)
    if exponent and problem.pairs is not None:
        twin = twin.with_pairs(problem.pairs.scaled(-exponent))
    return Normal(twin, exponent, base, problem if base else None)


def normal_values(problem: Problem, value: NDArray[np.float64]) -> tuple[NDArray[np.float64], float, int]:
    """The values of the normal problem, what was taken out of them, and the exponent of their unit.

    Parameters
    ----------
    problem
        A problem in which every budget by itself can be met.
    value
        ``(n_choices,)`` float64 its values, or others in their place.

    Returns
    -------
    value, base, exponent
        See `Normal`.
    """
    if not problem.all_fit:
        most = np.maximum.reduceat(np.where(problem.fits, value, -np.inf), problem.start[:-1])
        value = np.where(problem.fits, value, most[problem.group])
    value, base, largest = _without_constants(value, problem)
    if problem.pairs is not None:
        largest = max(largest, float(np.abs(problem.pairs.value).max(initial=0)))
    exponent = math.frexp(largest)[1]
    exponent = exponent if abs(exponent) > _LARGEST_EXPONENT else 0
    return np.ldexp(value, -exponent) if exponent else value, base, exponent


def _without_constants(value: NDArray[np.float64], problem: Problem) -> tuple[NDArray[np.float64], float, float]:
    """Values above the least of their group where that outweighs the differences and can be taken out exactly.

    With what was taken out over all groups, and the largest magnitude of what is left.
    """
    outweighs, largest = outweighed(value, problem.start)
    if not outweighs:
        return value, 0.0, largest
    least = np.minimum.reduceat(value, problem.start[:-1])
    most = np.maximum.reduceat(value, problem.start[:-1])
    with np.errstate(over="ignore"):
        common = np.where(np.abs(least) > most - least, least, 0.0)
    exact = is_exact_difference(value, common[problem.group])
    taken = np.where(np.logical_and.reduceat(exact, problem.start[:-1]), common, 0.0)
    value = value - taken[problem.group]
    return value, math.fsum(taken.tolist()), max(float(value.max()), -float(value.min()))


def outweighed(value: NDArray[np.float64], start: NDArray[np.int64]) -> tuple[bool, float]:
    """Whether the least value of a group outweighs the differences in it; and the largest magnitude of all values."""
    kernels = compiled()
    if kernels is None:
        return outweighed_in_numpy(value, start)
    found, largest = kernels.outweighed(value, start)
    return bool(found), largest


def outweighed_in_numpy(value: NDArray[np.float64], start: NDArray[np.int64]) -> tuple[bool, float]:
    """What `outweighed` does, in NumPy."""
    least, most = np.minimum.reduceat(value, start[:-1]), np.maximum.reduceat(value, start[:-1])
    with np.errstate(over="ignore"):
        found = bool((np.abs(least) > most - least).any())
    return found, max(float(most.max()), -float(least.min()))


def is_exact_difference(value: NDArray[np.float64], low: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether ``value - low`` needs no rounding, entry by entry (Knuth's exact sum of two floats)."""
    above = value - low
    carried = above - value
    exact: NDArray[np.bool_] = (value - (above - carried)) - (low + carried) == 0
    return exact
