"""Doubtful entries of a table: rises, negative losses, outliers, and estimates that are mostly noise."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..tables.repair import rises

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ..tables.table import SensitivityTable

KEPT = "kept as it was measured"
_NOISE = 0.5  # relative standard error from which an estimate is mostly noise
_CLEAR = 2.0  # standard errors by which a rise is more than noise
_OUTLIER = 6.0  # robust standard deviations, of logarithms
_LEAST_SPREAD = 0.1  # of logarithms: less is no outlier, however alike the other layers are
_LEAST_CELLS = 8
_MAD_TO_DEVIATION = 1.4826  # of a normal distribution


@dataclass(frozen=True)
class Doubt:
    """One thing about a table that its user should know.

    Attributes
    ----------
    kind
        ``"negative"``, ``"guess"``, ``"rise"``, ``"outlier"`` or ``"noise"``.
    layer, format
        Which entry; the format is empty where the whole layer is meant.
    words
        What was found, as a clause.
    done
        What was done about it.
    """

    kind: str
    layer: str
    format: str
    words: str
    done: str = KEPT

    def __str__(self) -> str:
        """One line for people."""
        place = f"layer {self.layer!r}" + (f", format {self.format!r}" if self.format else "")
        return f"{place}: {self.words} - {self.done}"


def check_table(table: SensitivityTable) -> tuple[Doubt, ...]:
    """List what is doubtful about a table. Nothing is changed: `cap_losses` and `Handling` name what can be done.

    Five things are looked for. A loss below zero, which only signed estimators and noise give. A loss above the most
    that a guess loses, where the table knows how many classes there are. A loss that rises with
    stored bits, among formats of one layer and of equal activation bits; it says whether the rise is more than two
    standard errors. A loss that lies far off what its layer and its format have in common, in logarithms and in robust
    standard deviations (an additive fit by medians: Tukey, 1977, *Exploratory data analysis*). And a layer whose
    standard errors are half its losses or more, in the median over its formats.

    Parameters
    ----------
    table
        The table.

    Returns
    -------
    doubts
        By kind, then in the order of the table; empty where nothing was found.
    """
    return (*_negative(table), *_guesses(table), *_rises(table), *_outliers(table), *_noise(table))


def _negative(table: SensitivityTable) -> Iterator[Doubt]:
    for row, column in np.argwhere(table.loss < 0):
        loss, stderr = float(table.loss[row, column]), float(table.stderr[row, column])
        size = f", {abs(loss / stderr):.1f} standard errors" if stderr > 0 else ""
        words = f"the loss is {loss:.3g}, below zero{size}: it counts as a gain"
        yield Doubt("negative", table.layer_names[row], table.format_names[column], words)


def _guesses(table: SensitivityTable) -> Iterator[Doubt]:
    for row, column in np.argwhere(table.loss > table.guessing):
        words = (
            f"the loss is {table.loss[row, column]:.3g}, above the {table.guessing:.3g} nats that a guess among "
            f"{table.classes} classes loses: the format makes the network useless, and a quadratic form says nothing "
            "about how useless"
        )
        yield Doubt("guess", table.layer_names[row], table.format_names[column], words)


def _rises(table: SensitivityTable) -> Iterator[Doubt]:
    for row, layer in enumerate(table.layers):
        families: dict[int | None, list[tuple[int, int]]] = defaultdict(list)
        for column, entry in enumerate(table.formats):
            if not np.isnan(table.loss[row, column]):
                families[entry.activation_bits].append((entry.storage_bits(layer), column))
        for family in families.values():
            columns = [column for _, column in sorted(family)]
            losses = table.loss[row, columns]
            for place in rises(losses):
                best = columns[int(np.argmin(losses[:place]))]
                yield _rise(table, row, best, columns[place])


def _rise(table: SensitivityTable, row: int, narrow: int, wide: int) -> Doubt:
    difference = float(table.loss[row, wide] - table.loss[row, narrow])
    error = _error_of_difference(table, row, narrow, wide)
    if np.isnan(error):
        weight = "its error is not known"
    elif difference > _CLEAR * error:
        weight = f"{difference / error if error > 0 else np.inf:.1f} standard errors, more than noise"
    else:
        weight = "within its error"
    words = f"the loss is {difference:.2g} above that of {table.format_names[narrow]!r} with fewer bits, {weight}"
    return Doubt("rise", table.layer_names[row], table.format_names[wide], words)


def _error_of_difference(table: SensitivityTable, row: int, first: int, second: int) -> float:
    """The standard error of the difference of two entries, batch by batch where batches are known."""
    if table.contributions is not None and table.batch_sizes is not None and len(table.batch_sizes) > 1:
        share = table.batch_sizes / table.batch_sizes.sum()
        apart = table.contributions[:, row, second] - table.contributions[:, row, first]
        spread = share * (apart - share @ apart)
        return float(np.sqrt(len(share) / (len(share) - 1) * float(spread @ spread)))
    return float(np.hypot(table.stderr[row, first], table.stderr[row, second]))


def _outliers(table: SensitivityTable) -> Iterator[Doubt]:
    known = table.loss > 0
    if known.sum() < _LEAST_CELLS or min(table.loss.shape) < 2:
        return
    rest = np.where(known, np.log(np.where(known, table.loss, 1)), np.nan)
    for _ in range(4):
        for axis in (1, 0):
            rest = rest - _medians(rest, axis)
    spread = _MAD_TO_DEVIATION * float(np.nanmedian(np.abs(rest)))
    limit = _OUTLIER * max(spread, _LEAST_SPREAD)
    for row, column in np.argwhere(np.abs(np.nan_to_num(rest)) > limit):
        times = float(np.exp(abs(rest[row, column])))
        side = "larger" if rest[row, column] > 0 else "smaller"
        words = f"the loss is {times:.2g} times {side} than its layer and its format suggest"
        yield Doubt("outlier", table.layer_names[row], table.format_names[column], words)


def _medians(entries: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Medians that leave nan out, 0 where there is nothing else."""
    found = np.zeros([1 if at == axis else size for at, size in enumerate(entries.shape)])
    for at, line in enumerate(entries if axis == 1 else entries.T):
        numbers = line[~np.isnan(line)]
        if len(numbers):
            found[(at, 0) if axis == 1 else (0, at)] = np.median(numbers)
    return found


def _noise(table: SensitivityTable) -> Iterator[Doubt]:
    for row, layer in enumerate(table.layer_names):
        known = ~np.isnan(table.loss[row]) & ~np.isnan(table.stderr[row]) & (table.loss[row] != 0)
        if known.any():
            relative = float(np.median(table.stderr[row, known] / np.abs(table.loss[row, known])))
            if relative >= _NOISE:
                yield Doubt("noise", layer, "", f"its standard errors are {100 * relative:.0f} % of its losses")
