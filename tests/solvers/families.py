"""Seeded problems with a known shape, as large as wanted: what the field's instance collections are made of."""

from __future__ import annotations

import numpy as np

from mckp_quant.solvers import Problem


def quantisation(n_groups: int, bits: tuple[int, ...], *, share: float, seed: int, n_budgets: int = 1) -> Problem:
    """Loss ``s n 4**-b exp(0.3 N)`` of layers of lognormal size; costs in bits, then in other convex units.

    `share` is where each budget lies between the cheapest and the dearest selection.
    """
    rng = np.random.default_rng(seed)
    elements = np.maximum(1, np.exp(rng.normal(np.log(2e5), 1.5, n_groups))).astype(np.int64)
    scale = np.exp(2 * rng.normal(size=n_groups))
    width = np.array(bits)
    noise = np.exp(0.3 * rng.normal(size=(n_groups, len(bits))))
    value = (scale * elements)[:, None] * 4.0**-width * noise
    cost = [elements[:, None] * width]
    for _ in range(n_budgets - 1):
        work = np.exp(rng.normal(4, 1, n_groups)).astype(np.int64) + 1
        cost.append(work[:, None] * width**2)
    return with_share(value, np.array(cost), share)


def strongly_correlated(n_groups: int, n_choices: int, *, seed: int, reach: int = 100) -> Problem:
    """Profit is weight plus ten, both sorted and cumulated within a group (Pisinger 1995); the profit is negated."""
    rng = np.random.default_rng(seed)
    weight = np.sort(rng.integers(1, reach + 1, (n_groups, n_choices)), axis=1)
    return with_share(-np.cumsum(weight + 10, axis=1), np.cumsum(weight, axis=1)[None], 0.5)


def subset_sum(n_groups: int, n_choices: int, *, seed: int, reach: int = 1000) -> Problem:
    """Profit equals weight: every undominated choice has the same rate, so bounds say nothing."""
    rng = np.random.default_rng(seed)
    weight = rng.integers(1, reach + 1, (n_groups, n_choices))
    return with_share(-weight, weight[None], 0.5)


def zigzag(n_groups: int, n_choices: int, *, seed: int, reach: int = 1000) -> Problem:
    """Weights and profits drawn apart, each sorted, then paired: nothing is dominated (Sinha and Zoltners 1979)."""
    rng = np.random.default_rng(seed)
    weight = np.sort(rng.integers(1, reach + 1, (n_groups, n_choices)), axis=1)
    profit = np.sort(rng.integers(1, reach + 1, (n_groups, n_choices)), axis=1)
    return with_share(-profit, weight[None], 0.5)


def with_share(value: np.ndarray, cost: np.ndarray, share: float) -> Problem:
    least, most = cost.min(axis=2).sum(axis=1), cost.max(axis=2).sum(axis=1)
    budget = [int(low) + int(share * int(high - low)) for low, high in zip(least, most, strict=True)]
    return Problem.from_table(value.astype(np.float64), cost, budget)
