"""Losses that should fall as bits grow: where they do not, and the nearest that do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def rises(loss: NDArray[np.float64]) -> list[int]:
    """Where a sequence that should fall stands above the least before it.

    Parameters
    ----------
    loss
        ``(n,)`` finite losses, by rising bits.

    Returns
    -------
    positions
        The entries that are larger than some entry before them.
    """
    if not len(loss):
        return []
    least = np.minimum.accumulate(loss)
    return [int(at) for at in np.flatnonzero(loss > least)]


def pool_violators(loss: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sequence that never rises and is nearest in least squares: pooling of adjacent violators.

    Ayer, Brunk, Ewing, Reid, Silverman (1955), *An empirical distribution function for sampling with incomplete
    information*. Runs that rise are replaced by their means, so the sum stays what it was.

    Parameters
    ----------
    loss
        ``(n,)`` finite losses, by rising bits.

    Returns
    -------
    pooled
        ``(n,)`` float64 that never rises; the input itself where that never does.
    """
    means: list[float] = []
    counts: list[int] = []
    for entry in loss.tolist():
        means.append(entry)
        counts.append(1)
        while len(means) > 1 and means[-2] < means[-1]:
            count = counts[-2] + counts[-1]
            means[-2:] = [(means[-2] * counts[-2] + means[-1] * counts[-1]) / count]
            counts[-2:] = [count]
    return np.repeat(means, counts)
