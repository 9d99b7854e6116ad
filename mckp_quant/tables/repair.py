"""Losses that cannot be as they stand: what is odd in words, and repairs, which nobody but the user calls."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np

from ..common.checks import check_count
from ..errors import InvalidInput

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .table import SensitivityTable


def cap_losses(table: SensitivityTable, classes: int | None = None) -> SensitivityTable:
    """The table with every loss above that of a guess, ``ln(classes)`` nats, lowered to it.

    A quadratic form knows no ceiling: where rounding destroys a layer, its loss may come out as hundreds of nats, and
    two such layers count as twice as bad as one. Capped, both are simply useless. Standard errors of what was lowered
    become nan, and contributions of single batches, which no longer average to the losses, are dropped.

    Parameters
    ----------
    table
        The table, in nats.
    classes
        How many classes the network tells apart; by default what the table says.

    Returns
    -------
    capped
        The table itself where nothing lies above.

    Raises
    ------
    InvalidInput
        When the table does not know its classes and none are given, is not in nats, or has another likelihood.
    """
    if classes is not None:
        likelihood = table.likelihood or "categorical"
        table = dataclasses.replace(table, classes=check_count("classes", classes, 2), likelihood=likelihood)
    most = table.guessing
    if not math.isfinite(most):
        raise InvalidInput(
            f"the table has unit {table.unit!r}, likelihood {table.likelihood!r} and {table.classes} classes: only "
            "losses in nats of a network with classes can be capped; give classes= where the table lacks them"
        )
    above = table.loss > most
    if not above.any():
        return table
    return dataclasses.replace(
        table,
        loss=np.where(above, most, table.loss),
        stderr=np.where(above, np.nan, table.stderr),
        contributions=None,
        batch_sizes=None,
        method=f"{table.method}, capped at a guess",
    )


def negative_words(table: SensitivityTable, negative: NDArray[np.bool_]) -> str:
    """Name losses below zero, which are taken for gains.

    Parameters
    ----------
    table
        The table.
    negative
        ``(n_layers, n_formats)`` bool: which ones to name.

    Returns
    -------
    words
        A sentence without its full stop; empty where there is none.
    """
    if not negative.any():
        return ""
    row, column = np.unravel_index(int(np.argmin(np.where(negative, table.loss, np.inf))), table.loss.shape)
    count = int(negative.sum())
    losses = "1 loss is" if count == 1 else f"{count} losses are"
    return (
        f"{losses} below zero, the least {table.loss[row, column]:.3g} of layer {table.layer_names[row]!r} in format "
        f"{table.format_names[column]!r}: what {table.method} gives there is taken for a gain, which rounding hardly "
        "ever brings; gauss_newton is never negative"
    )


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
