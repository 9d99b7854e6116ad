"""What the costs of a problem say by themselves: how far they are above the least of their group."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from ..kernels.dispatch import compiled, plain

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclasses.dataclass(frozen=True, eq=False)
class Measures:
    """Costs above the least of their group.

    Attributes
    ----------
    above
        ``(n_resources, n_choices)`` int64, not to be written to.
    least
        The sum over groups of the least cost, one for each resource.
    divisor
        The common divisor of the costs above the least of their group, one for each resource; 0 where all are 0.
    most
        The largest cost above the least of its group, one for each resource.
    """

    above: NDArray[np.int64]
    least: tuple[int, ...]
    divisor: tuple[int, ...]
    most: tuple[int, ...]


def measured(cost: NDArray[np.int64], start: NDArray[np.int64]) -> Measures:
    """Measure the costs ``(n_resources, n_choices)`` of groups that begin at ``start``."""
    kernels = compiled()
    if kernels is None:
        return measured_in_numpy(cost, start)
    above = np.empty(cost.shape, dtype=np.int64)
    figures = np.empty((3, len(cost)), dtype=np.int64)
    kernels.measure(plain(cost), start, above, figures)
    above.setflags(write=False)
    least, divisor, most = figures.tolist()
    return Measures(above, tuple(least), tuple(divisor), tuple(most))


def measured_in_numpy(cost: NDArray[np.int64], start: NDArray[np.int64]) -> Measures:
    """What `measured` does, in NumPy."""
    least = np.minimum.reduceat(cost, start[:-1], axis=1)
    above = least.repeat(start[1:] - start[:-1], axis=1)
    np.subtract(cost, above, out=above)
    above.setflags(write=False)
    divisor = tuple(int(np.gcd.reduce(row)) for row in above)
    return Measures(above, tuple(least.sum(axis=1).tolist()), divisor, tuple(above.max(axis=1).tolist()))
