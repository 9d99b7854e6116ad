"""Makes a table of what was found in a file: odd cells are listed, and handled as the user said."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InvalidInput
from . import cells
from .findings import Finding, Handling, Place, refuse_errors, report
from .layers_and_formats import format_of, layer_of
from .repair import pool_violators, rises
from .table import SensitivityTable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ..formats.format import Format
    from ..layers import Layer
    from .raw import Cell, RawTable

UNKNOWN_UNIT = "(unit not given)"  # stands behind a number in reports, where a unit would

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Imported:
    """A table that came from elsewhere, and all that was odd about it.

    Attributes
    ----------
    table
        The table, after what the user asked to be done.
    findings
        Everything odd that was found, and what was done about it.
    """

    table: SensitivityTable
    findings: tuple[Finding, ...] = ()

    def report(self) -> str:
        """What was odd and what was done about it, one line each; empty where nothing was."""
        return report(self.findings)


def apply_handling(
    raw: RawTable, handling: Handling, *, layers: Iterable[Layer] = (), formats: Iterable[Format] = ()
) -> Imported:
    """Make a table of what was found, and do about odd cells what the user asked for.

    Parameters
    ----------
    raw
        What was found.
    handling
        What to do about odd cells.
    layers
        Facts about layers that the source does not give; what they say of a layer goes before what the source says.
    formats
        Formats by their names, for those that are neither built in nor described by the source.

    Returns
    -------
    imported
        The table, with the list of what was found.

    Raises
    ------
    InvalidInput
        When a number or a fact cannot be read or is missing, or cells are odd about which nothing was said.
    """
    if not isinstance(handling, Handling):
        raise InvalidInput(f"handling is {handling!r}: give Handling(...), such as Handling(missing='drop')")
    if not raw.layers or not raw.formats:
        what = "layers" if not raw.layers else "formats"
        raise InvalidInput(f"{raw.source} has no {what}: a table needs a row per layer and a column per format")
    findings: list[Finding] = []
    chosen = _distinct(raw, handling, findings)
    bits = _bits(chosen)
    given = {layer.name: layer for layer in layers}
    rows = tuple(given.get(name) or layer_of(facts, name, bits, raw.formats) for name, facts in raw.layers.items())
    known = {entry.name: entry for entry in formats}
    columns = tuple(known.get(name) or format_of(name, rows, bits, chosen, raw) for name in raw.formats)
    loss = np.full((len(rows), len(columns)), math.nan)
    stderr = np.full(loss.shape, math.nan)
    for at, layer in enumerate(rows):
        for column, entry in enumerate(columns):
            cell = chosen.get((layer.name, entry.name))
            if cell is None:
                place = Place(raw.source, raw.layers[layer.name].row, entry.name)
                findings.append(Finding("missing", place, layer.name, entry.name, "nothing", handling.missing))
                continue
            loss[at, column], stderr[at, column] = _numbers(cell, handling, findings)
    _handle_negative(loss, stderr, rows, columns, chosen, handling, findings)
    _handle_rises(loss, stderr, rows, columns, chosen, handling, findings)
    refuse_errors(raw.source, findings)
    if findings:
        logger.warning("%s: %d odd cells:\n%s", raw.source, len(findings), report(findings))
    return Imported(SensitivityTable(rows, columns, loss, stderr, **_about(raw)), tuple(findings))


def _distinct(raw: RawTable, handling: Handling, findings: list[Finding]) -> dict[tuple[str, str], Cell]:
    chosen: dict[tuple[str, str], Cell] = {}
    for cell in raw.cells:
        if (cell.layer, cell.format) not in chosen:
            chosen[cell.layer, cell.format] = cell
            continue
        found = repr(cell.loss)
        findings.append(Finding("duplicate", cell.place, cell.layer, cell.format, found, handling.duplicate))
    return chosen


def _bits(chosen: Mapping[tuple[str, str], Cell]) -> dict[str, dict[str, int]]:
    """Stored bits by format and layer, where the source gives them."""
    found: dict[str, dict[str, int]] = {}
    for (layer, name), cell in chosen.items():
        if cell.bits_place is not None and not cells.is_blank(cell.bits):
            found.setdefault(name, {})[layer] = cells.whole(cell.bits, cell.bits_place)
    return found


def _numbers(cell: Cell, handling: Handling, findings: list[Finding]) -> tuple[float, float]:
    if type(cell.loss) is str and cell.stderr is None:  # as nearly all cells of large files
        with contextlib.suppress(ValueError):
            plain = float(cell.loss)
            if math.isfinite(plain) and "_" not in cell.loss and cell.loss.strip() not in handling.marks:
                return plain, math.nan
    if cells.is_not_allowed(cell.loss):
        return math.nan, math.nan
    number, percent = cells.without_percent(cell.loss)
    if cells.is_missing(number, handling.marks):
        found = "an empty cell" if cells.is_nothing(cell.loss) or cell.loss == "" else repr(cell.loss)
        findings.append(Finding("missing", cell.place, cell.layer, cell.format, found, handling.missing))
        return math.nan, math.nan
    loss = cells.number(number, cell.place) / (100 if percent else 1)
    if cells.is_missing(cell.stderr, ()):
        return loss, math.nan
    place = dataclasses.replace(cell.place, column=f"{cell.place.column} stderr")
    stderr = cells.number(cell.stderr, place)
    if stderr < 0:
        raise InvalidInput(f"{place}: a standard error of {stderr} is negative")
    return loss, stderr


def _handle_negative(
    loss: np.ndarray[Any, Any],
    stderr: np.ndarray[Any, Any],
    rows: tuple[Layer, ...],
    columns: tuple[Format, ...],
    chosen: Mapping[tuple[str, str], Cell],
    handling: Handling,
    findings: list[Finding],
) -> None:
    answer = handling.negative
    for at, column in np.argwhere(loss < 0).tolist():
        cell = chosen[rows[at].name, columns[column].name]
        findings.append(Finding("negative", cell.place, cell.layer, cell.format, repr(cell.loss), answer))
        if answer == "clip":
            loss[at, column] = 0.0
        elif answer == "drop":
            loss[at, column] = stderr[at, column] = math.nan


def _handle_rises(
    loss: np.ndarray[Any, Any],
    stderr: np.ndarray[Any, Any],
    rows: tuple[Layer, ...],
    columns: tuple[Format, ...],
    chosen: Mapping[tuple[str, str], Cell],
    handling: Handling,
    findings: list[Finding],
) -> None:
    """Chains of equal activation bits, one by one: more stored bits should not lose more."""
    answer = handling.non_monotone
    for at in _may_rise(loss, rows, columns):
        layer = rows[at]
        for activation in dict.fromkeys(entry.activation_bits for entry in columns):
            chain = [
                column
                for column, entry in enumerate(columns)
                if entry.activation_bits == activation and not math.isnan(loss[at, column])
            ]
            chain.sort(key=lambda column: (columns[column].storage_bits(layer), -loss[at, column]))
            odd = [chain[place] for place in rises(loss[at, chain])]
            for column in odd:
                cell = chosen[layer.name, columns[column].name]
                findings.append(Finding("non_monotone", cell.place, cell.layer, cell.format, repr(cell.loss), answer))
            if odd and answer == "isotonic":
                pooled = pool_violators(loss[at, chain])
                stderr[at, chain] = np.where(pooled == loss[at, chain], stderr[at, chain], math.nan)
                loss[at, chain] = pooled
            elif answer == "drop":
                loss[at, odd] = stderr[at, odd] = math.nan


def _may_rise(loss: np.ndarray[Any, Any], rows: tuple[Layer, ...], columns: tuple[Format, ...]) -> list[int]:
    """The rows that have to be looked at one by one: all but those whose losses fall with their bits, none missing."""
    if any(entry.stored_bits is not None for entry in columns):
        return list(range(len(rows)))
    found = []
    alike: dict[tuple[object, ...], list[int]] = {}
    for at, layer in enumerate(rows):
        if layer.channels is None:
            found.append(at)
        else:
            alike.setdefault((layer.kind, layer.shape, layer.channels), []).append(at)
    for members in alike.values():
        bits = np.array([entry.storage_bits(rows[members[0]]) for entry in columns])
        order = np.argsort(bits, kind="stable")
        own = loss[np.array(members)][:, order]
        falls = (own[:, 1:] <= own[:, :-1]).all(axis=1) & ~np.isnan(own).any(axis=1)
        found += [at for at, good in zip(members, falls.tolist(), strict=True) if not good]
    return sorted(found)


def _about(raw: RawTable) -> dict[str, Any]:
    texts = ("unit", "method", "likelihood", "rounder")
    about: dict[str, Any] = {key: raw.about[key] for key in texts if raw.about.get(key)}
    about.setdefault("unit", UNKNOWN_UNIT)  # what a foreign file counts need not be nats; files of our own say it
    for key in ("samples", "seed", "classes"):
        if raw.about.get(key):
            about[key] = cells.whole(raw.about[key], Place(raw.source, "of the heading", key))
    return about
