"""The core in gap units, the form in which general solvers receive it.

General solvers have absolute tolerances, in which losses of 1e-3 to 1e-9 vanish. In gap units (reduced costs over the
gap, times `GAP_UNITS`) the same tolerances are tiny parts of the only differences that matter.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ..bounds.gap import unit_of
from .backend_model import BackendModel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..core.reduction import Core

_MOST_UNITS = 2.0**53
GAP_UNITS = 2.0**22  # a tolerance of 1e-6 is then 2.4e-13 of the gap


def gap_model(
    core: Core, price: NDArray[np.float64], gap: float, incumbent: NDArray[np.int64] | None
) -> tuple[BackendModel, float]:
    """State a core in gap units.

    Parameters
    ----------
    core
        The core.
    price
        ``(n_resources,)`` float64.
    gap
        Value of the incumbent less the Lagrangian bound; ``inf`` without one.
    incumbent
        ``(n_groups,)`` int64 positions in the problem, for the hint; or None.

    Returns
    -------
    model
        The model.
    unit
        What one of its units is in values.
    """
    if not math.isfinite(gap):
        charge = price * np.abs(core.cost).max(axis=1, initial=0)  # what one choice may leave unused
        gap = max(float(core.reduced.max(initial=0.0)), float(charge.max()))
    unit = gap / GAP_UNITS
    units = 1.0 / unit if unit else 1.0
    cost, slack, slack_price = core.cost.copy(), [], []
    for resource, left in enumerate(core.slack):
        divisor = int(np.gcd.reduce(core.cost[resource])) or 1
        cost[resource] //= divisor
        slack.append(left // divisor)
        slack_price.append(float(price[resource]) * divisor * units)
    hint = None
    if incumbent is not None:
        chosen = np.zeros(int(max(core.position.max(initial=0), incumbent.max())) + 1, dtype=bool)
        chosen[incumbent] = True
        hint = largest_hint(core.start, chosen[core.position])
    model = BackendModel(
        core.start,
        core.reduced * units,
        core.value * units,
        cost,
        tuple(slack),
        np.array(slack_price),
        hint,
        whole=_whole(core),
    )
    return model, unit


def _whole(core: Core) -> NDArray[np.int64] | None:
    """The values of a core as whole multiples of a unit, where their sums are exact; or None."""
    unit = unit_of(core.value)
    if not unit or not len(core.value):
        return None
    largest = np.maximum.reduceat(np.abs(core.value), core.start[:-1])
    return np.rint(core.value / unit).astype(np.int64) if float(largest.sum()) / unit <= _MOST_UNITS else None


def largest_hint(start: NDArray[np.int64], chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The chosen index of each group, or its first (the reference) where the chosen one was fixed away."""
    index = start[:-1].copy()
    group = np.repeat(np.arange(len(start) - 1), np.diff(start))
    index[group[chosen]] = np.flatnonzero(chosen)
    return index
