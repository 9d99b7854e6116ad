"""How well one set of numbers predicts the order of another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scipy.stats import spearmanr

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def rank_correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Spearman's rank correlation of two arrays ``(n,)``."""
    return float(spearmanr(one, other).statistic)
