"""Measured costs from files: CSV, wide or long, or JSON."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import numpy as np

from ...common.checks import check_count
from ...common.files import read_json, readable
from ...errors import InvalidInput, unknown
from .. import cells
from ..cost_table import NOT_MEASURED, CostTable
from ..findings import Place
from .csv_files import read_csv

_UNIT = "ns"
_MARKS = ("404",)
_LISTS = ("layers", "formats", "cost")


def read_costs(
    path: str | os.PathLike[str], *, name: str = "latency", unit: str | None = None, per_unit: int = 1
) -> CostTable:
    """Read what every layer costs in every format, such as latencies that were measured on a device.

    Parameters
    ----------
    path
        CSV with a row per layer and a column per format, or with the columns layer, format and value (which may also
        be called ``cost``, or as `name` says); or JSON with
        the lists ``layers``, ``formats`` and, layer by layer, ``cost``, and optionally ``name`` and ``unit``. Cells
        that are empty, null or not allowed were not measured.
    name
        What budgets will call it.
    unit
        What the integers count; by default what the file says, in a CSV as ``# unit: us``, else ``"ns"``.
    per_unit
        How many of these a number in the file stands for: 1,000,000 where the file is in milliseconds and the unit
        is ``"ns"``.

    Returns
    -------
    costs
        The costs.

    Raises
    ------
    InvalidInput
        When the file cannot be read, or a number is negative or no whole number of units, with file, row and column;
        when `per_unit` is no whole number above 0.
    """
    check_count("per_unit", per_unit, 1)
    source = os.fspath(path)
    with readable(source):
        return _read(source, name, unit, per_unit)


def _read(source: str, name: str, unit: str | None, per_unit: int) -> CostTable:
    kind = Path(source).suffix.casefold()
    if kind == ".json":
        return _from_json(source, name, unit or _UNIT, per_unit)
    if kind != ".csv":
        raise unknown("kind of cost table", kind or source, (".csv", ".json"))
    raw = read_csv(source, value=name)
    layers, formats = tuple(raw.layers), tuple(raw.formats)
    if not layers or not formats:
        raise InvalidInput(f"{source} has no {'layers' if not layers else 'formats'}")
    cost = np.full((len(layers), len(formats)), NOT_MEASURED, dtype=np.int64)
    rows, columns = ({name: at for at, name in enumerate(names)} for names in (layers, formats))
    seen = set()
    for cell in raw.cells:
        if (cell.layer, cell.format) in seen:
            raise InvalidInput(f"{cell.place}: layer {cell.layer!r} in format {cell.format!r} stands there twice")
        seen.add((cell.layer, cell.format))
        cost[rows[cell.layer], columns[cell.format]] = _cost(cell.loss, cell.place, per_unit)
    return CostTable(name, unit or raw.about.get("unit") or _UNIT, layers, formats, cost)


def _from_json(source: str, name: str, unit: str, per_unit: int) -> CostTable:
    document = read_json(source, "costs")
    if not isinstance(document, dict) or not all(isinstance(document.get(key), list) for key in _LISTS):
        raise InvalidInput(f"{source} must hold the lists 'layers', 'formats' and 'cost', layer by layer")
    layers, formats = (tuple(str(each) for each in document[key]) for key in _LISTS[:2])
    rows: list[object] = document["cost"]
    if len(rows) != len(layers):
        raise InvalidInput(f"{source}: cost has {len(rows)} rows for {len(layers)} layers")
    cost = []
    for row, entries in enumerate(rows):
        if not isinstance(entries, list) or len(entries) != len(formats):
            raise InvalidInput(f"{source}, row {row}, column 'cost': {entries!r} must hold {len(formats)} numbers")
        places = (Place(source, row, column) for column in formats)
        cost.append([_cost(entry, place, per_unit) for entry, place in zip(entries, places, strict=True)])
    return CostTable(str(document.get("name", name)), str(document.get("unit", unit)), layers, formats, np.array(cost))


def _cost(raw: object, place: Place, per_unit: int) -> int:
    if cells.is_not_allowed(raw) or cells.is_missing(raw, _MARKS):
        return NOT_MEASURED
    found = cells.number(raw, place)
    exact = Fraction(raw.strip() if isinstance(raw, str) else repr(raw)) * per_unit
    if found < 0 or exact.denominator != 1:
        raise InvalidInput(
            f"{place}: {raw!r} times {per_unit} must be a whole number that is at least 0: choose a smaller unit"
        )
    if exact >= 2**63:
        raise InvalidInput(f"{place}: {raw!r} does not fit in 64 bits: choose a larger unit")
    return int(exact)
