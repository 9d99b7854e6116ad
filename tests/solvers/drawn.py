"""Problems drawn by hypothesis: small enough to solve by hand, and shaped like everything that has gone wrong before."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from mckp_quant.solvers import Problem

VALUES = ("few", "dyadic", "decades", "signed decades", "any", "zero", "quantisation", "subset-sum", "correlated")
COSTS = ("few", "wide", "large", "common factor", "zero", "quantisation")
FEASIBLE = ("between", "hit", "least", "most", "beyond")
BUDGETS = (*FEASIBLE, "below least")


def _numbers(draw: st.DrawFn, n: int, low: int, high: int) -> list[int]:
    return draw(st.lists(st.integers(low, high), min_size=n, max_size=n))


def _costs(draw: st.DrawFn, kind: str, size: list[int]) -> list[int]:
    n = sum(size)
    if kind == "few":
        return _numbers(draw, n, 0, 5)
    if kind == "wide":
        return _numbers(draw, n, 0, 1000)
    if kind == "large":
        return [10**12 + extra for extra in _numbers(draw, n, 0, 10**6)]
    if kind == "common factor":
        factor = draw(st.sampled_from([2, 6, 1000, 2**40]))
        return [factor * each for each in _numbers(draw, n, 0, 20)]
    if kind == "quantisation":
        elements = _numbers(draw, len(size), 1, 4096)
        return [own * bits for own, count in zip(elements, size, strict=True) for bits in range(2, 2 + count)]
    return [0] * n


def _values(draw: st.DrawFn, kind: str, size: list[int], cost: list[int]) -> list[float]:
    n = sum(size)
    if kind == "few":
        return [float(each) for each in _numbers(draw, n, -3, 3)]
    if kind == "dyadic":
        return [each / 64 for each in _numbers(draw, n, 0, 1000)]
    if kind in ("decades", "signed decades"):
        low = 1 if kind == "decades" else -999
        digits, powers = _numbers(draw, n, low, 999), _numbers(draw, n, -8, 4)
        return [digit * 10.0**power for digit, power in zip(digits, powers, strict=True)]
    if kind == "any":
        finite = st.floats(-1e9, 1e9, allow_subnormal=False)
        return draw(st.lists(finite, min_size=n, max_size=n))
    if kind == "quantisation":
        scale, noise = _numbers(draw, len(size), 1, 10**6), _numbers(draw, n, 70, 140)
        bits = [(own, b) for own, count in zip(scale, size, strict=True) for b in range(2, 2 + count)]
        return [own * 4.0**-b * each / 100 for (own, b), each in zip(bits, noise, strict=True)]
    if kind == "subset-sum":
        return [-float(each) for each in cost]
    if kind == "correlated":
        return [-float(each + 10) for each in cost]
    return [0.0] * n


def _budget(draw: st.DrawFn, kind: str, cost: list[int], size: list[int]) -> int:
    start = np.concatenate([[0], np.cumsum(size)]).tolist()
    groups = [cost[low:high] for low, high in zip(start, start[1:], strict=False)]
    least, most = sum(map(min, groups)), sum(map(max, groups))
    if kind == "between":
        return draw(st.integers(least, most))
    if kind == "hit":
        return sum(draw(st.sampled_from(group)) for group in groups)
    return {"least": least, "below least": least - 1, "most": most}.get(kind, 2**63 - 1)


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
    """A problem with single-choice groups, duplicate choices, ties, and labels that are not positions."""
    size = draw(st.lists(st.integers(1, max_choices), min_size=1, max_size=max_groups))
    n_resources = draw(st.integers(1, max_budgets))
    cost = [_costs(draw, draw(st.sampled_from(costs)), size) for _ in range(n_resources)]
    value = _values(draw, draw(st.sampled_from(values)), size, cost[0])
    start = np.concatenate([[0], np.cumsum(size)])
    if draw(st.booleans()):  # the last choice of each group that has two repeats the first one
        for low, high in zip(start, start[1:], strict=False):
            value[high - 1] = value[low]
            for row in cost:
                row[high - 1] = row[low]
    budget = [_budget(draw, draw(st.sampled_from(budgets)), row, size) for row in cost]
    offset = draw(st.integers(-2, 2))
    label = np.concatenate([offset + 3 * np.arange(count)[::-1] for count in size])
    return Problem(value=np.array(value), cost=np.array(cost), budget=np.array(budget), start=start, label=label)

