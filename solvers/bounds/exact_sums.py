"""Sums of floats that are rounded once, whatever their order: to the nearest float, or down."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from ..kernels.dispatch import compiled, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def chosen_total(value: NDArray[np.float64], choice: NDArray[np.int64]) -> float:
    """The sum of chosen values, rounded once.

    Parameters
    ----------
    value
        ``(n_choices,)`` float64, finite.
    choice
        ``(n,)`` positions.

    Returns
    -------
    total
        The float that is nearest to their exact sum.

    Raises
    ------
    OverflowError
        When it is beyond the range of floats.
    """
    kernels = compiled()
    if kernels is not None:
        total: float = kernels.chosen_total(value, plain(choice))
        if math.isfinite(total):
            return total
    return _nearest(value[choice].tolist())


def total_below(value: NDArray[np.float64], choice: NDArray[np.int64], more: Sequence[float]) -> float:
    """The sum of chosen values and other numbers, rounded down.

    Parameters
    ----------
    value
        ``(n_choices,)`` float64.
    choice
        ``(n,)`` positions.
    more
        Other numbers.

    Returns
    -------
    total
        The largest float that is no more than their sum; ``-inf`` where one of them is not finite, or the sum is beyond
        the range of floats.
    """
    kernels = compiled()
    if kernels is None:
        return sum_below([*value[choice].tolist(), *more])
    total: float = kernels.total_below(value, plain(choice), np.array(more, dtype=np.float64))
    return total


def sum_below(terms: Sequence[float]) -> float:
    """What `total_below` does, of numbers in a list."""
    try:
        total = _nearest(terms)
        if not math.isfinite(total):
            return -math.inf
        # What rounding has taken away, exactly: a sum of 0 that needed no rounding must stay 0.
        return total if _nearest([*terms, -total]) >= 0 else math.nextafter(total, -math.inf)
    except (OverflowError, ValueError):
        return -math.inf


def _nearest(terms: Sequence[float]) -> float:
    try:
        return math.fsum(terms)
    except OverflowError:  # of a part of the sum, where the whole may be a float
        return float(sum(map(Fraction, terms)))
