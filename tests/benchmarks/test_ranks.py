from __future__ import annotations

import numpy as np
import pytest

from benchmarks.ranks import rank_correlation


def test_rank_correlation_follows_the_order_only() -> None:
    numbers = np.array([0.1, 5.0, -2.0, 7.0])
    assert rank_correlation(numbers, np.exp(numbers)) == pytest.approx(1)
    assert rank_correlation(numbers, -numbers) == pytest.approx(-1)
