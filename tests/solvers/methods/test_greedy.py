from __future__ import annotations

import warnings

import numpy as np

from mckp_quant.solvers import Greedy, Problem


def test_walks_that_never_come_within_the_budgets_overflow_nothing() -> None:
    """Every walk raises the weights of the budgets that are exceeded: only their ratios may count."""
    cost = np.random.default_rng(0).integers(10**10, 10**12, (3, 5, 4))
    problem = Problem.from_table(np.zeros((5, 4)), cost, (cost.min(axis=2).sum(axis=1) * 0.9).astype(np.int64))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Greedy()(problem, seconds=10, seed=0, warm=None).choice is None
