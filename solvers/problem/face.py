"""The face of a problem: how large it is, and what its budgets leave."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..display.faces import Face, grid
from ..display.figures import counted, number

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..display.markup import Markup

_LISTED = 6  # budgets


def problem_face(
    value: NDArray[np.float64],
    cost: NDArray[np.int64],
    budget: NDArray[np.int64],
    start: NDArray[np.int64],
    more: tuple[tuple[str, str], ...],
) -> Face:
    """A problem in a few lines, from its arrays and further facts."""
    groups, sizes, first = len(start) - 1, np.diff(start), start[:-1]
    facts = []
    if groups:
        low, high = int(sizes.min()), int(sizes.max())
        facts.append(("choices", f"{low} a group" if low == high else f"{low} to {high} a group"))
        least, most = np.minimum.reduceat(value, first).sum(), np.maximum.reduceat(value, first).sum()
        facts.append(("values", f"add up to {number(least)} at least, {number(most)} at most"))
        lows, highs = (each.reduceat(cost, first, axis=1).sum(axis=1).tolist() for each in (np.minimum, np.maximum))
        for at, (limit, low, high) in enumerate(zip(budget[:_LISTED].tolist(), lows, highs, strict=False)):
            facts.append((f"budget {at}", f"{limit:,}; selections cost {low:,} to {high:,}"))
    if len(budget) > _LISTED:
        facts.append(("", f"and {counted(len(budget) - _LISTED, 'more budget')}"))
    sizes_of = counted(groups, "group"), counted(len(value), "choice"), counted(len(budget), "budget")
    return Face(f"Problem: {', '.join(sizes_of)}", (*facts, *more))


def groups_grid(value: NDArray[np.float64], cost: NDArray[np.int64], start: NDArray[np.int64]) -> Markup:
    """A line for each group: how many choices it has, and between what their values and costs lie."""
    rows = []
    for group, (first, end) in enumerate(zip(start[:-1].tolist(), start[1:].tolist(), strict=True)):
        own, costs = value[first:end], cost[:, first:end]
        spans = [f"{low:,} to {high:,}" for low, high in zip(costs.min(axis=1), costs.max(axis=1), strict=True)]
        rows.append((str(group), str(end - first), f"{number(own.min(), 4)} to {number(own.max(), 4)}", *spans))
    names = [f"cost {at}" if len(cost) > 1 else "cost" for at in range(len(cost))]
    return grid(("group", "choices", "values", *names), rows)
