"""Calibration data of a run: named sets with weights, and which of their samples fit, measure and judge."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..common.checks import check_fraction, check_positive
from ..errors import InvalidInput
from ..network.batches import as_batches
from ..network.fingerprint import batch_digest
from ..rounding.rounder import NOTHING
from ..sensitivity.arguments import parted
from ..tuning.holding_back import split

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from ..network.batch import Batch
    from ..rounding.rounder import Rounder
    from ..tables.table import SensitivityTable

ONLY = "calibration"  # the name of a single set


@dataclass(frozen=True, eq=False)
class CalibrationSet:
    """One of several sets of calibration data.

    Attributes
    ----------
    batches
        As for `measure`.
    weight
        How much its losses count beside those of the other sets, whatever their sizes.

    Raises
    ------
    InvalidInput
        When the weight is not above 0.
    """

    batches: Iterable[object]
    weight: float = 1.0

    def __post_init__(self) -> None:
        """Refuse a weight that is none."""
        check_positive("weight", self.weight)


@dataclass(frozen=True, eq=False)
class Part:
    """One set, parted.

    Attributes
    ----------
    name, weight
        Of the set.
    fitted
        All that is not held back: what the last pass fits to.
    rounded, measured
        Of these, what the rounder sees, and what losses are measured on.
    """

    name: str
    weight: float
    fitted: tuple[Batch, ...]
    rounded: tuple[Batch, ...]
    measured: tuple[Batch, ...]

    @property
    def digest(self) -> str:
        """Forty hexadecimal digits that change with any input or target."""
        return data_digest(self.fitted)


@dataclass(frozen=True, eq=False)
class Data:
    """All data of a run.

    Attributes
    ----------
    parts
        The calibration sets.
    held_out
        What only judges.
    how
        How that was chosen, in words.
    first
        The first batch of the first set, as it was given.
    """

    parts: tuple[Part, ...]
    held_out: tuple[Batch, ...]
    how: str
    first: Batch

    @property
    def fitted(self) -> list[Batch]:
        """What the last pass fits to, of all sets."""
        return [batch for part in self.parts for batch in part.fitted]

    @property
    def rounded(self) -> list[Batch]:
        """What the rounder sees, of all sets."""
        return [batch for part in self.parts for batch in part.rounded]

    @property
    def measured(self) -> list[Batch]:
        """What losses are measured on, of all sets: each set counts by its weight, whatever its size."""
        sizes = [sum(batch.size for batch in part.measured) for part in self.parts]
        each = sum(sizes) / sum(part.weight for part in self.parts)  # so that weights are 1 on average
        return [
            dataclasses.replace(batch, weight=each * part.weight / size) if len(self.parts) > 1 else batch
            for part, size in zip(self.parts, sizes, strict=True)
            for batch in part.measured
        ]


def part_data(
    batches: Iterable[object] | Mapping[str, object],
    held_out: float | Iterable[object],
    model: nn.Module,
    rounder: Rounder,
    *,
    seed: int,
    max_batches: int | None,
) -> Data:
    """Read the data of a run and part them.

    Parameters
    ----------
    batches
        One set of batches, or several by name: each a `CalibrationSet`, or batches of weight 1.
    held_out
        The share of the samples of every set that only judges, or batches that do.
    model
        The network.
    rounder
        One that looks at inputs sees every other batch, and losses are measured on those between; else both get all.
    seed
        Draws which batches are held back.
    max_batches
        How many are read at most, of every set and of those that judge.

    Returns
    -------
    data
        In memory.

    Raises
    ------
    InvalidInput
        When there are no batches, or too few to hold some back.
    """
    share = held_out if isinstance(held_out, (int, float)) else None
    if share is not None:
        check_fraction("held_out", share)
    sets = batches if isinstance(batches, Mapping) else {ONLY: batches}
    if not sets:
        raise InvalidInput("batches is an empty mapping: name at least one set of batches")
    parts, judging = [], []
    first: Batch | None = None
    for name, entry in sets.items():
        given = entry if isinstance(entry, CalibrationSet) else CalibrationSet(entry)  # type: ignore[arg-type]
        fitted = list(itertools.islice(as_batches(given.batches, model), max_batches))
        first = first or fitted[0]
        if share is not None:
            fitted, held = split(fitted, share, seed)
            judging += held
        rounded, measured = (fitted, fitted) if rounder.needs == NOTHING else parted(fitted, rounder.name)
        parts.append(Part(str(name), float(given.weight), tuple(fitted), tuple(rounded), tuple(measured)))
    how = "data of its own"
    if share is None:
        judging = list(itertools.islice(as_batches(held_out, model), max_batches))  # type: ignore[arg-type]
    else:
        of = "the data" if len(parts) == 1 else "every data set"
        how = f"{share:.3g} of {of}, drawn with seed {seed}"
    assert first is not None
    renumbered = tuple(dataclasses.replace(batch, index=at) for at, batch in enumerate(judging))
    return Data(tuple(parts), renumbered, how, first)


def data_digest(batches: Sequence[Batch]) -> str:
    """Forty hexadecimal digits that change with any input or target of batches, or their order."""
    return hashlib.sha256("".join(map(batch_digest, batches)).encode()).hexdigest()[:40]


def mean_table(tables: Sequence[SensitivityTable], weights: Sequence[float]) -> SensitivityTable:
    """The table of the weighted mean of losses, each measured on a set of its own.

    Parameters
    ----------
    tables
        Of the same layers and formats, by the same estimator.
    weights
        Above 0, whatever their sum.

    Returns
    -------
    table
        Its losses are the means; the sets are independent, so their squared errors add up. Batches count in it by
        their share of their set and its weight, so that losses are still the weighted mean of contributions, and a
        bootstrap over batches draws as before. A cell that is unknown on one set is unknown.
    """
    if len(tables) == 1:
        return tables[0]
    first, shares = tables[0], np.asarray(weights, dtype=np.float64) / sum(weights)
    parts = [each.contributions for each in tables if each.contributions is not None]
    sizes = [each.batch_sizes for each in tables if each.batch_sizes is not None]
    whole = len(parts) == len(sizes) == len(tables)
    samples = sum(float(each.sum()) for each in sizes)
    counted = [share * samples * each / each.sum() for share, each in zip(shares, sizes, strict=True)] if whole else []
    return dataclasses.replace(
        first,
        loss=np.tensordot(shares, np.stack([each.loss for each in tables]), axes=1),
        stderr=np.sqrt(np.tensordot(shares**2, np.stack([each.stderr for each in tables]) ** 2, axes=1)),
        contributions=np.concatenate(parts) if whole else None,
        batch_sizes=np.concatenate(counted) if whole else None,
        samples=sum(each.samples for each in tables),
    )
