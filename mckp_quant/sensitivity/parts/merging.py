"""Puts together what several processes measured, each on its part of the batches: one table, as if one had read all."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ...common.files import readable
from ...errors import InvalidInput
from ...formats.schemes import FLOAT_BITS
from ...network.fingerprint import Fingerprint
from ...tables.repair import negative_words
from ..reach import operations_of, refuse_cut, warn_of_unknown
from ..reading import Stop, check_targets, warn
from ..totals import Totals

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from ...formats.format import Format
    from ...layers import Layer
    from ...tables.parts.part import Part
    from ...tables.table import SensitivityTable

logger = logging.getLogger(__name__)


def merge(tables: Iterable[SensitivityTable]) -> SensitivityTable:
    """Put together the tables of all parts of a measurement.

    Parameters
    ----------
    tables
        What ``measure(..., run=RunOptions(part="1/8"))`` and so on gave, in any order.

    Returns
    -------
    table
        The table that one process would have measured on all batches: sums are added with their rounding errors, so
        that the number of parts does not show. Batches stand in the order in which they were given.

    Raises
    ------
    InvalidInput
        When a table is no part, a part is missing or there twice, or parts are of other networks, data, formats,
        estimators or options: the message names the first that does not fit.
    """
    given = _in_order(list(tables))
    first = given[0][0]
    _check_alike(given)
    totals = Totals.of_parts([_totals(table, part) for table, part in given])
    check_targets(totals)
    reach = _reached([part.sums["reach"] for _, part in given])
    names = first.layer_names
    flat = reach["flat"] - reach["reached"]
    if flat:
        refuse_cut(names, flat)
    unknown = sorted(reach["suspects"] - reach["reached"])
    warn_of_unknown(names, unknown, reach["called"])
    blank = unknown_cells(unknown, first.layers, first.formats)
    warn(names, totals, Stop(), first.format_names)
    macs = operations_of(first.layers, reach)
    table = replace(
        first,
        layers=tuple(replace(layer, macs=each) for layer, each in zip(first.layers, macs, strict=True)),
        loss=np.where(blank, np.nan, totals.moments.mean.numpy()),
        stderr=np.where(blank, np.nan, totals.stderr.numpy()),
        contributions=np.where(blank, np.nan, torch.stack(totals.contributions).numpy()),
        batch_sizes=np.array(totals.sizes),
        samples=sum(totals.samples),
        part=None,
    )
    negative = negative_words(table, table.loss < 0)
    if negative:
        logger.warning("%s", negative)
    return table


def unknown_cells(rows: Sequence[int], layers: Sequence[Layer], formats: Sequence[Format]) -> NDArray[np.bool_]:
    """``(n_layers, n_formats)``: every format but the widest, of layers whose loss is unknown."""
    blank = np.zeros((len(layers), len(formats)), dtype=np.bool_)
    for row in rows:
        widths = [(entry.storage_bits(layers[row]), entry.activation_bits or FLOAT_BITS) for entry in formats]
        blank[row] = True
        blank[row, widths.index(max(widths))] = False
    return blank


def _in_order(tables: Sequence[SensitivityTable]) -> list[tuple[SensitivityTable, Part]]:
    """The tables with their parts, from the first to the last; raises InvalidInput where one is missing or double."""
    if not tables:
        raise InvalidInput("there is no part to merge: give the tables of all parts")
    whole = next((at for at, table in enumerate(tables) if table.part is None), None)
    if whole is not None:
        raise InvalidInput(
            f"table {whole + 1} of {len(tables)} is no part, it was measured on all its batches: give what "
            "'measure --part' wrote"
        )
    found = [(table, table.part) for table in tables if table.part is not None]
    of = found[0][1].share.of
    other = next((part.share for _, part in found if part.share.of != of), None)
    if other is not None:
        raise InvalidInput(
            f"the parts {found[0][1].share} and {other} are of different numbers of parts: merge one set"
        )
    numbers = [part.share.number for _, part in found]
    double = sorted({number for number in numbers if numbers.count(number) > 1})
    if double:
        raise InvalidInput(f"part {double[0]}/{of} is given {numbers.count(double[0])} times: give every part once")
    missing = [f"{number}/{of}" for number in range(1, of + 1) if number not in numbers]
    if missing:
        raise InvalidInput(f"missing parts: {', '.join(missing)}; measure them with --part, and give all {of}")
    return sorted(found, key=lambda pair: pair[1].share.number)


def _check_alike(given: Sequence[tuple[SensitivityTable, Part]]) -> None:
    """Refuse parts of different measurements; raises InvalidInput."""
    first, part = given[0]
    with readable("part 1"):
        own = Fingerprint.from_document(part.fingerprint, float(part.sums["tolerance"]))
    for table, other in given[1:]:
        with readable(f"part {other.share}"):
            differs = own.difference(other.fingerprint)
        if not differs and other.data != part.data:
            differs = (
                f"it read other data ({other.batches} batches, not {part.batches})"
                if other.batches != part.batches
                else "its batches are others, or in another order"
            )
        if not differs and (table.layer_names != first.layer_names or table.format_names != first.format_names):
            differs = "its layers or formats are others"
        if differs:
            raise InvalidInput(
                f"part {other.share} does not belong to part {part.share}: {differs}; measure all parts alike"
            )


def _totals(table: SensitivityTable, part: Part) -> Totals:
    """What a part added up; raises InvalidInput where its table says something else."""
    totals = Totals((len(table.layers), len(table.formats)))
    with readable(f"part {part.share}"):
        totals.restore(part.sums)
        own = totals.moments.mean.numpy()
    batches = part.share.count(part.batches)
    if own.shape != table.loss.shape or len(totals.sizes) != batches or not _same_where_known(table.loss, own):
        raise InvalidInput(
            f"part {part.share} was changed after it was measured: its losses are not those of its sums; merge parts "
            "as 'measure' wrote them, and change the whole"
        )
    return totals


def _same_where_known(loss: NDArray[np.float64], own: NDArray[np.float64]) -> bool:
    return bool(np.array_equal(loss, np.where(np.isnan(loss), np.nan, own), equal_nan=True))


def _reached(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What reached which layer in any part; alike is what was alike in all."""
    sets = {name: set().union(*(each[name] for each in found)) for name in ("called", "reached", "flat", "suspects")}
    return {
        **sets,
        "alike": set.intersection(*(set(each["alike"]) for each in found)),
        "samples": sum(each["samples"] for each in found),
        "operations": [sum(each) for each in zip(*(each["operations"] for each in found), strict=True)],
    }
