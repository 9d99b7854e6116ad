"""How much of an estimate holds on data that it was not made from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_UNKNOWN = 0.5


def slope_on_others(parts: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    """The slope of each part's figures on those of all other parts, by a regression through the origin.

    Where figures are noise, it is near 0; where all parts agree, it is 1.

    Parameters
    ----------
    parts
        ``(n_parts, n)`` float64: estimates of the same figures from different data, in units in which all are alike.
    weights
        ``(n_parts,)`` float64: how much data each part is from.

    Returns
    -------
    slope
        From 0 to 1; one half where there is one part only, and 0 where all figures are.
    """
    if len(parts) < 2:
        return _UNKNOWN
    total = weights @ parts
    product = square = 0.0
    for own, weight in zip(parts, weights.tolist(), strict=True):
        rest = (total - weight * own) / (weights.sum() - weight)
        product += weight * float(rest @ own)
        square += weight * float(rest @ rest)
    return float(np.clip(product / square, 0.0, 1.0)) if square > 0 else 0.0
