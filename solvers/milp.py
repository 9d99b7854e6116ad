"""The core as a mixed-integer linear programme in arrays, for solvers that take matrices or rows."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from .core_model import CoreModel


TOLERANCE = 1e-6  # what these solvers allow themselves in absolute terms
_INTEGER_BITS = 39  # integers below 2**39 survive being written with twelve digits, and their sums in a float


@dataclasses.dataclass(frozen=True, eq=False)
class Row:
    """One constraint ``lower <= coefficient . variable[index] <= upper``."""

    index: NDArray[np.int64]
    coefficient: NDArray[np.float64]
    lower: float
    upper: float


def priced(model: CoreModel) -> NDArray[np.int64]:
    """The resources whose unused budget has a price: each gets a continuous variable after the choices."""
    return np.flatnonzero(model.slack_price > 0)


def objective(model: CoreModel) -> NDArray[np.float64]:
    """``(n + n_priced,)`` coefficients: the choices, then one per priced resource, whose variable is in these units."""
    return np.concatenate([model.objective, np.ones(len(priced(model)))])


def rows(model: CoreModel) -> Iterator[Row]:
    """Every constraint: one choice per group, the budgets, what unused budget costs, and forbidden selections.

    Budgets of many digits are relaxed to fewer: nothing feasible is cut off, and a selection that slips through is
    seen when it is recomputed in exact integers.
    """
    n = len(model.objective)
    choices = np.arange(n)
    for first, last in zip(model.start[:-1], model.start[1:], strict=True):
        yield Row(choices[first:last], np.ones(last - first), 1.0, 1.0)
    for row, left in zip(model.cost, model.slack, strict=True):
        used = np.flatnonzero(row)
        unit = 1 << max(0, max(int(np.abs(row).max(initial=0)), abs(left)).bit_length() - _INTEGER_BITS)
        yield Row(used, (row[used] // unit).astype(np.float64), -np.inf, float(-(-left // unit)))
    for variable, resource in enumerate(priced(model), start=n):
        price = float(model.slack_price[resource])
        used = np.flatnonzero(model.cost[resource])
        yield Row(
            np.append(used, variable),
            np.append(model.cost[resource, used] * price, 1.0),
            model.slack[resource] * price,
            np.inf,
        )
    for selection in model.forbidden:
        yield Row(selection, np.ones(len(selection)), -np.inf, len(selection) - 1.0)


def resolution(model: CoreModel, precision: float) -> float:
    """How finely the objective tells selections apart, in its units, when numbers carry a relative precision."""
    largest = np.maximum.reduceat(np.abs(model.cost), model.start[:-1], axis=1).sum(axis=1, dtype=np.float64)
    return TOLERANCE + precision * float(model.slack_price @ largest)
