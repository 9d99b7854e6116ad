"""Random problems: small enough to solve by hand, and shaped like everything that has gone wrong before.

Hypothesis draws the shape and a seed, NumPy the entries: drawn entry by entry, most problems would be degenerate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from hypothesis import strategies as st

from mckp_quant.solvers import Problem

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

VALUES = ("few", "dyadic", "decades", "signed decades", "any", "zero", "quantisation", "subset-sum", "correlated")
COSTS = ("few", "wide", "large", "huge", "common factor", "zero", "quantisation", "wide", "quantisation")
FEASIBLE = ("between", "between", "between", "hit", "hit", "least", "most", "beyond")
BUDGETS = (*FEASIBLE, "below least")


def _cost(rng: np.random.Generator, kind: str, size: Integers) -> Integers:
    n = int(size.sum())
    if kind == "few":
        return rng.integers(0, 6, n)
    if kind == "wide":
        return rng.integers(0, 1001, n)
    if kind == "large":
        return 10**12 + rng.integers(0, 10**6, n)
    if kind == "huge":
        return rng.integers(0, 2**56, n)
    if kind == "common factor":
        return int(rng.choice([2, 6, 1000, 2**40])) * rng.integers(0, 21, n)
    if kind == "quantisation":
        return np.concatenate([rng.integers(1, 4097) * np.arange(2, 2 + count) for count in size])
    return np.zeros(n, dtype=np.int64)


def _value(rng: np.random.Generator, kind: str, size: Integers, cost: Integers) -> Floats:
    n = int(size.sum())
    if kind == "few":
        return rng.integers(-3, 4, n).astype(np.float64)
    if kind == "dyadic":
        return rng.integers(0, 1000, n) / 64
    if kind == "decades":
        return rng.integers(1, 1000, n) * 10.0 ** rng.integers(-8, 5, n)
    if kind == "signed decades":
        return rng.integers(-999, 1000, n) * 10.0 ** rng.integers(-8, 5, n)
    if kind == "any":
        return rng.normal(size=n)
    if kind == "quantisation":
        scale = np.exp(rng.normal(0, 2, len(size)))
        loss = [own * 4.0 ** -np.arange(2, 2 + count) for own, count in zip(scale, size, strict=True)]
        return np.asarray(np.concatenate(loss) * np.exp(0.3 * rng.normal(size=n)), dtype=np.float64)
    if kind == "subset-sum":
        return -cost.astype(np.float64)
    if kind == "correlated":
        return -(cost.astype(np.float64) + 10)
    return np.zeros(n)


def _budget(rng: np.random.Generator, kind: str, cost: Integers, start: Integers) -> int:
    least = int(np.minimum.reduceat(cost, start[:-1]).sum())
    most = int(np.maximum.reduceat(cost, start[:-1]).sum())
    if kind == "between":
        return int(rng.integers(least, most + 1))
    if kind == "hit":
        return int(cost[rng.integers(start[:-1], start[1:])].sum())
    return {"least": least, "below least": least - 1, "most": most}.get(kind, 2**63 - 1)


def random_problem(
    rng: np.random.Generator, values: str, costs: tuple[str, ...], budgets: tuple[str, ...], size: Integers
) -> Problem:
    """A problem of the kinds named, one of `costs` and `budgets` for each resource; labels are not positions."""
    start = np.concatenate([[0], np.cumsum(size)])
    cost = np.array([_cost(rng, kind, size) for kind in costs])
    value = _value(rng, values, size, cost[0])
    if rng.random() < 0.3:  # the last choice of each group repeats the first one
        value[start[1:] - 1] = value[start[:-1]]
        cost[:, start[1:] - 1] = cost[:, start[:-1]]
    budget = [_budget(rng, kind, row, start) for kind, row in zip(budgets, cost, strict=True)]
    label = np.concatenate([rng.permutation(3 * count)[:count] - 1 for count in size])
    return Problem(value=value, cost=cost, budget=np.array(budget), start=start, label=label)


def random_sizes(rng: np.random.Generator, n_groups: int, max_choices: int) -> Integers:
    """Choices per group; one group in seven or so has a single choice."""
    return np.where(rng.random(n_groups) < 0.15, 1, rng.integers(1, max_choices + 1, n_groups))


@st.composite
def problems(
    draw: st.DrawFn,
    *,
    max_budgets: int = 1,
    max_groups: int = 7,
    max_choices: int = 5,
    values: tuple[str, ...] = VALUES,
    costs: tuple[str, ...] = COSTS,
    budgets: tuple[str, ...] = BUDGETS,
) -> Problem:
    """A problem with single-choice groups, duplicate choices, ties, and budgets met exactly or missed by one unit."""
    n_resources = draw(st.integers(1, max_budgets))
    n_groups = draw(st.integers(1, max_groups) | st.just(max_groups - 1) | st.just(max_groups))
    kinds = st.lists(st.sampled_from(costs), min_size=n_resources, max_size=n_resources)
    limits = st.lists(st.sampled_from(budgets), min_size=n_resources, max_size=n_resources)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    size = random_sizes(rng, n_groups, max_choices)
    return random_problem(rng, draw(st.sampled_from(values)), tuple(draw(kinds)), tuple(draw(limits)), size)
