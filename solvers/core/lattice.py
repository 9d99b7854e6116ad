"""A rounding cut: how close to the bound a selection can come where costs and values share a pattern of remainders.

In strongly correlated data every value is a multiple of the cost plus a multiple of some ``g``. The pairs (cost, value)
then lie on a sparse lattice, found by the algorithm of Euclid, and so do their sums: most totals just above the
Lagrangian bound do not exist. This is a rounding cut in the sense of Chvatal and Gomory, for one budget (Gomory 1958,
*Outline of an algorithm for integer solutions to linear programs*).
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LARGEST_PRODUCT = 2.0**62


def least_total(value: NDArray[np.float64], cost: NDArray[np.int64], price: float, slack: int, unit: float) -> float:
    """A number that ``sum (value + price . cost) + price . unused budget`` never falls below.

    The sums of a selection satisfy ``value + t cost = g k`` with a whole ``k``, for any ``t = (g m - b) / a`` where
    ``(a, b)`` and ``(0, g)`` span the lattice. For ``0 <= t <= price`` its total is
    ``g k + (price - t) slack + t unused``; without the last term it is still not negative, as the total is at least
    ``price . unused``. So ``k`` is at least ``-(price - t) slack / g``, rounded up.

    Parameters
    ----------
    value, cost
        ``(n,)`` float64 multiples of the unit, and int64: those of all choices, relative to a reference selection.
    price
        Value per unit of cost.
    slack
        Budget less the cost of the reference.
    unit
        A number of which all values are multiples.

    Returns
    -------
    least
        At least 0, in units of value.
    """
    basis = _basis(cost, np.rint(value / unit).astype(np.int64))
    if basis is None:
        return 0.0
    a, b, g = basis
    rate = Fraction(price) / Fraction(unit)
    t = Fraction(math.floor((rate * a + b) / g) * g - b, a)
    if t < 0:
        return 0.0
    free = (rate - t) * slack
    return float((math.ceil(-free / g) * g + free) * Fraction(unit))


def _basis(cost: NDArray[np.int64], value: NDArray[np.int64]) -> tuple[int, int, int] | None:
    """``a, b, g`` such that ``(a, b)`` and ``(0, g)`` span the lattice of all pairs; None where it has no pattern."""
    a, b, g = 0, 0, 0
    whole = int(np.gcd.reduce(cost))
    for each, worth in zip(cost.tolist(), value.tolist(), strict=True):
        while each:
            quotient = a // each
            a, b, each, worth = each, worth, a - quotient * each, b - quotient * worth
        g = math.gcd(g, worth)
        b = b % g if g else b
        if g == 1:
            return None
        if abs(a) == whole:
            break
    if not a or max(abs(b), 1) * float(np.abs(cost).max()) / abs(a) + float(np.abs(value).max()) > _LARGEST_PRODUCT:
        return None
    if a < 0:
        a, b = -a, -b
    g = math.gcd(g, int(np.gcd.reduce(value - cost // a * b)))
    return (a, b % g, g) if g > 1 else None
