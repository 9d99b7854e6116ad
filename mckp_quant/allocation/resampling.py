"""The bootstrap over calibration batches: tables that other samples of the same kind might have given."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from ..common.checks import check_count, check_seed
from ..errors import InvalidInput

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..solvers import Problem
    from ..tables.table import SensitivityTable
    from .index import Index

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
    if how_resampled(table) == CELLS:
        rng = np.random.default_rng([seed, 1])
        deviation = table.stderr * rng.standard_normal((splits, 1, *table.loss.shape))
        return np.asarray(table.loss + np.concatenate([deviation, -deviation], axis=1))
    assert table.contributions is not None
    assert table.batch_sizes is not None
    flat = table.contributions.reshape(len(table.batch_sizes), -1)
    shares = shares_of_halves(table.batch_sizes, splits, seed)
    return np.asarray((shares @ flat).reshape(splits, 2, *table.loss.shape))


def shares_of_halves(batch_sizes: NDArray[np.float64], splits: int, seed: int) -> NDArray[np.float64]:
    """Split batches at random into halves, as `halves` does.

    Parameters
    ----------
    batch_sizes
        ``(n_batches,)`` samples in each batch.
    splits
        How many times.
    seed
        Seed of the splits.

    Returns
    -------
    shares
        ``(splits, 2, n_batches)`` float64: what share of the samples of its half a batch has; 0 in the other half.
    """
    rng = np.random.default_rng([seed, 1])
    batches = len(batch_sizes)
    shares = np.zeros((splits, 2, batches))
    for split in shares:
        order = rng.permutation(batches)
        for half, own in enumerate((order[: batches // 2], order[batches // 2 :])):
            split[half, own] = batch_sizes[own] / batch_sizes[own].sum()
    return shares


def on_choices(problem: Problem, index: Index, losses: NDArray[np.float64]) -> NDArray[np.float64]:
    """The values of a problem's choices in other tables.

    Parameters
    ----------
    problem
        The problem.
    index
        What its groups and labels mean.
    losses
        ``(draws, n_layers, n_formats)``.

    Returns
    -------
    values
        ``(draws, n_choices)`` float64: sums over the layers of each group.
    """
    values = np.empty((len(losses), problem.n_choices))
    for group, rows in enumerate(index.groups):
        own = slice(problem.start[group], problem.start[group + 1])
        values[:, own] = losses[:, list(rows)].sum(axis=1)[:, problem.label[own]]
    return values
