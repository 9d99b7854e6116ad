"""Tables from what a program already holds: arrays, dicts, data frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ...common.packages import require
from ...errors import InvalidInput
from ...layers import Layer
from ..cells import is_nothing, unmasked, whole
from ..findings import Handling, Place
from ..handling import Imported, apply_handling
from ..headings import Record
from ..raw import Cell, FormatFacts, LayerFacts, RawTable
from ..records import from_records
from .csv_files import long_records, wide_records

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import ArrayLike

    from ...formats.format import Format
    from ..table import SensitivityTable

_ERRORS = Handling()


def table_from_arrays(
    loss: ArrayLike | Sequence[Sequence[float | None]],
    layers: Sequence[Layer],
    formats: Sequence[str | Format],
    *,
    stderr: ArrayLike | None = None,
    stored_bytes: ArrayLike | None = None,
    unit: str = "nats per sample",
    handling: Handling = _ERRORS,
) -> Imported:
    """Make a table of a loss matrix.

    Parameters
    ----------
    loss
        ``(n_layers, n_formats)`` numbers; nan, None, NA or a mask where there is none.
    layers
        The rows.
    formats
        The columns: formats, or names of built-in ones, or any names where `stored_bytes` is given.
    stderr
        ``(n_layers, n_formats)`` standard errors of `loss`.
    stored_bytes
        ``(n_layers, n_formats)`` whole numbers: what each layer takes in each format, exactly.
    unit
        The unit of `loss`.
    handling
        What to do about odd cells.

    Returns
    -------
    imported
        The table, with the list of what was odd.

    Raises
    ------
    InvalidInput
        When shapes disagree, an entry cannot be read, or a cell is odd about which nothing was said.
    """
    for at, row in enumerate(layers):
        if not isinstance(row, Layer):
            raise InvalidInput(f"layers[{at}] is {row!r}: give Layer objects, which say how large each layer is")
    names = [entry if isinstance(entry, str) else entry.name for entry in formats]
    shape = (len(layers), len(names))
    losses = _matrix("loss", loss, shape)
    errors = None if stderr is None else _matrix("stderr", stderr, shape)
    sizes = None if stored_bytes is None else _matrix("stored_bytes", stored_bytes, shape)
    found = tuple(
        Cell(
            layer.name,
            name,
            losses[row][column],
            Place("loss", row, name),
            None if errors is None else errors[row][column],
            None if sizes is None else _bits(sizes[row][column], Place("stored_bytes", row, name)),
            Place("stored_bytes", row, name),
        )
        for row, layer in enumerate(layers)
        for column, name in enumerate(names)
    )
    rows = {layer.name: LayerFacts(layer.name, {}, "loss", row) for row, layer in enumerate(layers)}
    raw = RawTable("loss", rows, {name: FormatFacts() for name in names}, found, {"unit": unit})
    known = [entry for entry in formats if not isinstance(entry, str)]
    return apply_handling(raw, handling, layers=layers, formats=known)


def table_from_records(
    records: Iterable[Mapping[str, object]],
    *,
    layers: Iterable[Layer] = (),
    formats: Iterable[Format] = (),
    unit: str = "nats per sample",
    handling: Handling = _ERRORS,
) -> Imported:
    """Make a table of dicts, one per layer (wide) or one per layer and format (long), with the headings of the CSV.

    Parameters
    ----------
    records
        The rows. A data frame gives them as ``frame.to_dict("records")``, or goes in itself.
    layers
        Facts about layers that the records do not give.
    formats
        Formats that are neither built in nor come with their bytes.
    unit
        The unit of the losses.
    handling
        What to do about odd cells.

    Returns
    -------
    imported
        The table, with the list of what was odd.

    Raises
    ------
    InvalidInput
        When an entry cannot be read, or a cell is odd about which nothing was said.
    """
    to_dict: Any = getattr(records, "to_dict", None)
    rows = list(records if to_dict is None else to_dict("records"))
    headings: dict[str, None] = {}
    for row, record in enumerate(rows):
        if not hasattr(record, "keys"):
            raise InvalidInput(f"the records, row {row}, column 0: {record!r} is no dict from headings to entries")
        headings |= dict.fromkeys(record)
    numbered = (Record(row, record) for row, record in enumerate(rows))
    raw = from_records("the records", list(headings), numbered, about={"unit": unit})
    return apply_handling(raw, handling, layers=layers, formats=formats)


def table_to_frame(table: SensitivityTable, *, long: bool = False) -> Any:
    """The table as a pandas data frame.

    Parameters
    ----------
    table
        The table.
    long
        One row per layer and format, instead of one per layer.

    Returns
    -------
    frame
        The frame, with the headings of the CSV; ``"not allowed"`` stands for a format that a layer must not have.
    """
    pandas = require("pandas", None, without="write_csv needs no pandas")
    return pandas.DataFrame.from_records(long_records(table) if long else wide_records(table))


def _matrix(name: str, values: object, shape: tuple[int, int]) -> list[list[Any]]:
    try:
        array = np.array(unmasked(values, None), dtype=object)
    except ValueError as error:
        raise InvalidInput(f"{name} is not rectangular: {error}") from error
    if array.shape[:2] != shape or array.ndim != 2:
        raise InvalidInput(f"{name} has the shape {array.shape}: it must be {shape}, layers by formats")
    rows: list[list[Any]] = array.tolist()
    return rows


def _bits(size: object, place: Place) -> object:
    return None if is_nothing(size) else 8 * whole(size, place)
