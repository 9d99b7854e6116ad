"""The core as a mixed-integer linear programme in arrays, for solvers that take matrices or rows.

Such solvers hold rows to an absolute tolerance, in double precision or in the digits of a file. Every row is scaled so
that this tolerance lies just above the rounding of its largest term: tighter, and true selections are refused; looser,
and selections over budget slip through (they are seen when recomputed in exact integers).
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..problem.rows import IntegerRow
    from .backend_model import BackendModel

_DIGITS = 12  # digits of an integer that survive in a float and in a file
_HEADROOM = 1e14  # largest term of a row over the tolerance on it; doubles carry 1e16


@dataclasses.dataclass(frozen=True, eq=False)
class Row:
    """One constraint ``lower <= coefficient . variable[index] <= upper``."""

    index: NDArray[np.int64]
    coefficient: NDArray[np.float64]
    lower: float
    upper: float


@dataclasses.dataclass(frozen=True, eq=False)
class Milp:
    """Minimise ``objective . variable``; the first `n_binary` variables are binary, the others at least 0.

    Attributes
    ----------
    objective
        ``(n_variables,)`` float64.
    n_binary
        How many variables are choices or auxiliary binaries, in this order; each of the others is the unused part of a
        budget, priced.
    rows
        One choice per group, the budgets, what unused budget costs, further rows, and forbidden selections.
    resolution
        How finely the objective tells selections apart, in its units.
    """

    objective: NDArray[np.float64]
    n_binary: int
    rows: tuple[Row, ...]
    resolution: float


def as_milp(model: BackendModel, tolerance: float, precision: float) -> Milp:
    """State a model as rows for a solver with this absolute tolerance and this relative precision of its numbers.

    Parameters
    ----------
    model
        The core in gap units, or a raw problem.
    tolerance
        By how much the solver lets a row be violated.
    precision
        The relative rounding of the numbers that reach it.

    Returns
    -------
    milp
        The programme. Budgets are only ever relaxed, so nothing feasible is cut off.
    """
    choices = np.arange(len(model.objective))
    n = len(choices) + model.n_auxiliary
    pairs = zip(model.start[:-1], model.start[1:], strict=True)
    rows = [Row(choices[first:last], np.ones(last - first), 1.0, 1.0) for first, last in pairs]
    budgets = [_budget(row, left, tolerance) for row, left in zip(model.cost, model.slack, strict=True)]
    rows += [budget for budget, _ in budgets]
    unused: list[float] = []
    resolution = tolerance
    for resource in np.flatnonzero(model.slack_price > 0):
        price = float(model.slack_price[resource])
        budget, unit = budgets[resource]
        if unit is None:  # the row was relaxed: charge for what is left in the objective's units instead
            budget, unit, loss = _charge(model, int(resource), tolerance)
            resolution += precision * loss
        else:
            unit *= price
        variable = n + len(unused)
        rows.append(Row(np.append(budget.index, variable), np.append(budget.coefficient, 1.0), budget.upper, np.inf))
        unused.append(unit)
        resolution += tolerance * unit
    for row in model.rows:
        rows += _one_sided(row, tolerance)
    for pattern in model.forbidden:
        sign = np.concatenate([np.ones(len(pattern.ones)), -np.ones(len(pattern.zeros))])
        rows.append(Row(np.append(pattern.ones, pattern.zeros), sign, -np.inf, len(pattern.ones) - 1.0))
    return Milp(np.concatenate([model.objective, np.zeros(model.n_auxiliary), unused]), n, tuple(rows), resolution)


def _budget(row: NDArray[np.int64], left: int, tolerance: float) -> tuple[Row, float | None]:
    """A budget row scaled to the tolerance, and the cost that one unit of it stands for.

    A row of too many digits is relaxed to fewer, and has no such unit.
    """
    largest = max(int(np.abs(row).max(initial=0)), abs(left), 1)
    coarse = 10 ** max(0, len(str(largest)) - _DIGITS)
    power = math.ceil(math.log10(largest / coarse / (tolerance * _HEADROOM)))
    used = np.flatnonzero(row)
    whole, most = (row[used] // coarse).astype(np.float64), float(-(-left // coarse))
    # Powers of ten keep the digits: up to 10**22 they are floats themselves, their inverses are not.
    if power < 0:
        scaled = Row(used, whole * 10.0**-power, -np.inf, most * 10.0**-power)
    else:
        scaled = Row(used, whole / 10.0**power, -np.inf, most / 10.0**power)
    return scaled, 10.0**power if coarse == 1 else None


def _one_sided(row: IntegerRow, tolerance: float) -> list[Row]:
    """A row of exact integers as an upper limit and a negated lower limit, relaxed where it has too many digits."""
    limits = [] if row.upper is None else [(row.coefficient, row.upper)]
    limits += [] if row.lower is None else [(-row.coefficient, -row.lower)]
    scaled = [_budget(coefficient, limit, tolerance)[0] for coefficient, limit in limits]
    return [dataclasses.replace(each, index=row.index[each.index]) for each in scaled]


def _charge(model: BackendModel, resource: int, tolerance: float) -> tuple[Row, float, float]:
    """A budget row in units of the objective scaled to the tolerance, that unit, and the sum of its largest terms."""
    charge = float(model.slack_price[resource]) * model.cost[resource]
    unit = math.ldexp(1.0, max(0, math.frexp(float(np.abs(charge).max()) / (tolerance * _HEADROOM))[1]))
    used = np.flatnonzero(charge)
    left = model.slack[resource] * float(model.slack_price[resource]) / unit
    largest = np.maximum.reduceat(np.abs(charge), model.start[:-1]).sum()
    return Row(used, charge[used] / unit, -np.inf, left), unit, float(largest)
