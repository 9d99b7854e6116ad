"""The bootstrap over calibration batches: tables that other samples of the same kind might have given."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from ..common.checks import check_count, check_seed
from ..errors import InvalidInput

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..tables.table import SensitivityTable

logger = logging.getLogger(__name__)

BATCHES, CELLS = "batches", "cells"
_FEW = 8  # batches below which a bootstrap over them says little about its own tails


def how_resampled(table: SensitivityTable) -> str:
    """Say what can be drawn anew in a table: ``"batches"``, or ``"cells"`` where single batches are not known.

    Parameters
    ----------
    table
        The table.

    Returns
    -------
    how
        `BATCHES` or `CELLS`.

    Raises
    ------
    InvalidInput
        When the table knows neither batches nor standard errors.
    """
    if table.contributions is not None and len(table.contributions) > 1:
        return BATCHES
    if not np.isfinite(table.stderr[~np.isnan(table.loss)]).all():
        raise InvalidInput(
            "the table holds neither the contributions of at least 2 batches nor a standard error for every cell, so "
            "nothing is known of its noise: measure it with 'measure' on several batches"
        )
    return CELLS


def resample(table: SensitivityTable, draws: int, seed: int) -> NDArray[np.float64]:
    """Draw tables that other calibration samples might have given.

    The batches of the measurement are drawn anew, with replacement: all cells of one batch stay together, because
    they were measured on the same samples and err together (Efron, 1979, *Bootstrap methods: another look at the
    jackknife*). Deviations from the table are stretched by ``sqrt(n / (n - 1))`` for ``n`` batches, which makes their
    variance that of the standard errors. A table without batches is drawn cell by cell from its standard errors,
    with a warning: that overstates how much two formats of one layer can swap places.

    Parameters
    ----------
    table
        The table.
    draws
        How many tables, at least 2.
    seed
        Seed of the draws.

    Returns
    -------
    losses
        ``(draws, n_layers, n_formats)`` float64, nan where the table is.

    Raises
    ------
    InvalidInput
        When there are fewer than 2 draws, or nothing is known of the table's noise.
    """
    check_count("draws", draws, 2)
    check_seed(seed)
    rng = np.random.default_rng(seed)
    if how_resampled(table) == CELLS:
        logger.warning(
            "the table holds no contributions of single batches: its cells are drawn independently from their standard "
            "errors, although cells that were measured on the same samples err together"
        )
        return np.asarray(table.loss + table.stderr * rng.standard_normal((draws, *table.loss.shape)))
    assert table.contributions is not None
    assert table.batch_sizes is not None
    batches = len(table.batch_sizes)
    if batches < _FEW:
        logger.warning(
            "the table was measured on %d batches: a bootstrap over so few is coarse; measure in smaller batches",
            batches,
        )
    counts = rng.multinomial(batches, np.full(batches, 1 / batches), size=draws)
    shares = counts * table.batch_sizes
    shares = shares / shares.sum(axis=1, keepdims=True)
    flat = table.contributions.reshape(batches, -1)
    centre = (table.batch_sizes / table.batch_sizes.sum()) @ flat
    # Differences first: a mean of equal contributions must come out equal, to the last bit.
    deviations = shares @ (flat - centre)
    stretched = np.sqrt(batches / (batches - 1)) * deviations.reshape(draws, *table.loss.shape)
    return np.asarray(table.loss + stretched)


def halves(table: SensitivityTable, splits: int, seed: int) -> NDArray[np.float64]:
    """Split the batches at random into two halves, and make a table of each.

    The tables of two halves lie on either side of the whole one, as far as its standard errors say; so they do for a
    table without batches, where the deviations are drawn cell by cell.

    Parameters
    ----------
    table
        The table.
    splits
        How many times.
    seed
        Seed of the splits.

    Returns
    -------
    losses
        ``(splits, 2, n_layers, n_formats)`` float64.
    """
    rng = np.random.default_rng([seed, 1])
    if how_resampled(table) == CELLS:
        deviation = table.stderr * rng.standard_normal((splits, 1, *table.loss.shape))
        return np.asarray(table.loss + np.concatenate([deviation, -deviation], axis=1))
    assert table.contributions is not None
    assert table.batch_sizes is not None
    batches = len(table.batch_sizes)
    shares = np.zeros((splits, 2, batches))
    for split in shares:
        order = rng.permutation(batches)
        for half, own in enumerate((order[: batches // 2], order[batches // 2 :])):
            split[half, own] = table.batch_sizes[own] / table.batch_sizes[own].sum()
    flat = table.contributions.reshape(batches, -1)
    return np.asarray((shares @ flat).reshape(splits, 2, *table.loss.shape))
