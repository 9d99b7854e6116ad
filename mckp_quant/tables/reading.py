"""Reads and writes tables in files; the ending of the name says which kind of file it is."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..common.files import readable
from ..errors import InvalidInput, unknown
from .findings import Handling
from .handling import Imported, apply_handling
from .readers.csv_files import read_csv, write_csv
from .readers.npz_files import read_npz, with_batches, write_npz
from .table import SensitivityTable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..formats.format import Format
    from ..layers import Layer

_ERRORS = Handling()
_TEXT = (".csv",)


def read_table(
    path: str | os.PathLike[str],
    *,
    layers: Iterable[Layer] = (),
    formats: Iterable[Format] = (),
    handling: Handling = _ERRORS,
) -> Imported:
    """Read a table from JSON, CSV (wide or long) or npz.

    A JSON table is one that `SensitivityTable.save` wrote, or that follows its published schema: it says for itself
    which numbers are missing, and they are taken as they are.

    Parameters
    ----------
    path
        The file; its ending says what it is.
    layers
        Facts about layers that the file does not give, such as what `discover` found.
    formats
        Formats that are neither built in nor described by the file.
    handling
        What to do about odd cells of CSV and npz.

    Returns
    -------
    imported
        The table, with the list of what was odd.

    Raises
    ------
    InvalidInput
        When the file cannot be read, with file, row and column; or a cell is odd about which nothing was said.
    """
    with readable(os.fspath(path)):
        return _read(path, layers, formats, handling)


def _read(
    path: str | os.PathLike[str], layers: Iterable[Layer], formats: Iterable[Format], handling: Handling
) -> Imported:
    kind = Path(path).suffix.casefold()
    if kind == ".json":
        return Imported(SensitivityTable.load(path))
    if kind in _TEXT:
        return apply_handling(read_csv(path), handling, layers=layers, formats=formats)
    if kind == ".npz":
        raw, batches, beside = read_npz(path)
        imported = apply_handling(raw, handling, layers=layers, formats=formats)
        imported = replace(imported, table=replace(imported.table, **beside._asdict()))
        if any(finding.answer not in ("keep", "error") for finding in imported.findings):
            return imported  # what single batches contributed is no longer what the losses are made of
        return Imported(with_batches(imported.table, batches, os.fspath(path)), imported.findings)
    raise unknown("kind of table", kind or os.fspath(path), (".json", ".npz", *_TEXT))


def write_table(table: SensitivityTable, path: str | os.PathLike[str], *, long: bool = False) -> None:
    """Write a table as JSON, CSV or npz, whole or not at all.

    Parameters
    ----------
    table
        The table.
    path
        Where to write; its ending says as what.
    long
        CSV with one row per layer and format, instead of one per layer.

    Raises
    ------
    InvalidInput
        When the ending is none of these.
    """
    kind = Path(path).suffix.casefold()
    if long and kind not in _TEXT:
        raise InvalidInput(f"long = True is for CSV, and {os.fspath(path)!r} is {kind or 'of no known kind'}")
    if kind == ".json":
        table.save(path)
    elif kind in _TEXT:
        write_csv(table, path, long=long)
    elif kind == ".npz":
        write_npz(table, path)
    else:
        raise unknown("kind of table", kind or os.fspath(path), (".json", ".npz", *_TEXT))
