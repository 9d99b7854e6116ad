"""Measured costs from files: CSV, wide or long, JSON, or an array in the form of HAQ."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import numpy as np

from ...common.checks import check_count
from ...common.files import read_json, read_text, readable
from ...errors import InvalidInput, unknown
from ...formats.schemes import ACTIVATION_BITS
from .. import cells
from ..cost_table import NOT_MEASURED, CostTable
from ..findings import Place
from .csv_files import read_csv

_UNIT = "ns"
_MARKS = ("404",)
_HAQ = 3  # dimensions of an array
_WIDEST = 8  # bits of weights
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
        that are empty, null or not allowed were not measured. Or an array in the form of HAQ (Wang et al., 2019,
        *HAQ: Hardware-aware automated quantization with mixed precision*), ``.npy``: layers by bits of weights by bits
        of inputs, both from 1 up; the names of its layers, one a line, lie beside it in a ``.txt`` of the same name.
    name
        What budgets will call it.
    unit
        What the integers count; by default what the file says, in a CSV as ``# unit: us``, else ``"ns"``, of an array
        ``"cycles"``.
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
    if kind == ".npy":
        return _from_array(source, name, unit or "cycles", per_unit)
    if kind != ".csv":
        raise unknown("kind of cost table", kind or source, (".csv", ".json", ".npy"))
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


def _from_array(source: str, name: str, unit: str, per_unit: int) -> CostTable:
    """An array of layers by bits of weights by bits of inputs; formats are such as ``w4a8``."""
    with open(source, "rb") as file:
        array = np.load(file, allow_pickle=False)
    beside = Path(source).with_suffix(".txt")
    if not beside.is_file():
        raise InvalidInput(
            f"{source} is an array, which does not name its layers: write their names, one a line in the array's "
            f"order, into {str(beside)!r}"
        )
    layers = tuple(line.strip() for line in read_text(beside, "names of layers").splitlines() if line.strip())
    if array.ndim != _HAQ or array.shape[0] != len(layers) or array.dtype.kind not in "iuf":
        raise InvalidInput(
            f"{source} holds {array.dtype} of the shape {array.shape}: it must be numbers, layers by bits of weights "
            f"by bits of inputs, and {str(beside)!r} names {len(layers)} layers"
        )
    bits = [
        (weights, inputs)
        for weights in range(1, min(array.shape[1], _WIDEST) + 1)
        for inputs in range(1, array.shape[2] + 1)
        if inputs in ACTIVATION_BITS
    ]
    formats = tuple(f"w{weights}a{inputs}" for weights, inputs in bits)
    cost = [
        [
            _cost(array[row, weights - 1, inputs - 1].item(), Place(source, row, entry), per_unit)
            for (weights, inputs), entry in zip(bits, formats, strict=True)
        ]
        for row in range(len(layers))
    ]
    return CostTable(name, unit, layers, formats, np.array(cost).reshape(len(layers), len(formats)))


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
