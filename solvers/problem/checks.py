"""The rules that the arrays of a problem keep: shapes, signs, sums within their types, labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import InvalidProblem
from .arrays import INT64_MAX, place

if TYPE_CHECKING:
    from numpy.typing import NDArray


def check_shapes(
    start: NDArray[np.int64],
    value: NDArray[np.float64],
    cost: NDArray[np.int64],
    budget: NDArray[np.int64],
    label: NDArray[np.int64],
) -> None:
    """Refuse arrays that do not fit together; raises InvalidProblem."""
    if value.ndim != 1:
        raise InvalidProblem(f"value has {value.ndim} dimensions: it must have 1 (Problem.from_table takes tables)")
    if len(start) < 2:
        raise InvalidProblem("start has fewer than two entries: a problem needs at least one group")
    if start[0] != 0 or start[-1] != len(value):
        raise InvalidProblem(
            f"start runs from {start[0]} to {start[-1]}: it must run from 0 to n_choices = {len(value)}"
        )
    empty = start[1:] <= start[:-1]
    if empty.any():
        group = int(np.argmax(empty))
        raise InvalidProblem(
            f"group {group} is empty: start[{group}] = {start[group]}, start[{group + 1}] = {start[group + 1]}"
        )
    if cost.shape != (len(budget), len(value)):
        raise InvalidProblem(
            f"cost has shape {cost.shape}: {len(budget)} budgets and {len(value)} choices need "
            f"{(len(budget), len(value))}"
        )
    if len(budget) == 0:
        raise InvalidProblem("budget is empty: give at least one budget")
    if label.shape != value.shape:
        raise InvalidProblem(f"label has shape {label.shape}: it must be {value.shape}, one label per choice")


def check_not_negative(cost: NDArray[np.int64]) -> None:
    """Refuse costs below zero; raises InvalidProblem."""
    if (cost < 0).any():
        flat = int(np.argmax(cost.ravel() < 0))
        raise InvalidProblem(f"{place('cost', cost, flat)} is {cost.ravel()[flat]}: a cost must not be negative")


def check_entries(
    start: NDArray[np.int64], value: NDArray[np.float64], cost: NDArray[np.int64], label: NDArray[np.int64]
) -> None:
    """Refuse entries whose sums overflow, and labels that stand twice in a group; raises InvalidProblem."""
    check_not_negative(cost)
    largest = np.maximum.reduceat(cost, start[:-1], axis=1)
    for resource, row in enumerate(largest):
        if row.sum(dtype=np.float64) > 2.0**62 and sum(row.tolist()) > INT64_MAX:
            raise InvalidProblem(
                f"the costs of resource {resource} add up beyond 2**63: choose a larger unit "
                f"(its largest cost is {row.max()})"
            )
    with np.errstate(over="ignore"):
        total = 4 * np.maximum.reduceat(np.abs(value), start[:-1]).sum()
    if not np.isfinite(total):
        raise InvalidProblem(
            f"the values of all groups add up beyond the range of float64 (the largest is {np.abs(value).max()}): "
            "choose a larger unit"
        )
    group = np.repeat(np.arange(len(start) - 1), np.diff(start))
    order = np.lexsort((label, group))
    twice = (np.diff(label[order]) == 0) & (np.diff(group[order]) == 0)
    if twice.any():
        at = int(order[int(np.argmax(twice))])
        raise InvalidProblem(f"label {label[at]} stands twice in group {group[at]}: labels must differ within a group")
