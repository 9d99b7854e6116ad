"""Reads and writes tables in files; the ending of the name says which kind of file it is."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..common.files import read_json, readable
from ..errors import InvalidInput, unknown
from .findings import Handling
from .handling import Imported, apply_handling
from .raw import RawTable
from .readers.csv_files import read_csv, write_csv
from .readers.npz_files import read_npz, with_batches, write_npz
from .sizes import Sizes, read_sizes, with_sizes
from .table import KIND, SensitivityTable
from .toolchains import READERS, reader_of

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
    shapes: str | os.PathLike[str] | None = None,
) -> Imported:
    """Read a table from JSON, CSV (wide or long) or npz, or from the JSON of a tool that measures sensitivities.

    A JSON table of ours is one that `SensitivityTable.save` wrote, or that follows its published schema: it says for
    itself which numbers are missing, and they are taken as they are.

    Parameters
    ----------
    path
        The file; its ending says what it is.
    layers
        Facts about layers that the file does not give, such as what `discover` found.
    formats
        Formats that are neither built in nor described by the file.
    handling
        What to do about odd cells of CSV, npz and other tools' JSON.
    shapes
        A file that says how large the layers are, where the table does not: JSON from their names to shapes, another
        table with shapes, elements or bytes, ``.safetensors``, a ``.map`` of GGUF-Tool-Suite, a folder of these two.

    Returns
    -------
    imported
        The table, with the list of what was odd.

    Raises
    ------
    InvalidInput
        When the file cannot be read, with file, row and column; or a cell is odd about which nothing was said.
    """
    sizes = Sizes() if shapes is None else read_sizes(shapes)
    with readable(os.fspath(path)):
        return _read(path, tuple(layers), formats, handling, sizes)


def _read(
    path: str | os.PathLike[str],
    layers: tuple[Layer, ...],
    formats: Iterable[Format],
    handling: Handling,
    sizes: Sizes,
) -> Imported:
    kind = Path(path).suffix.casefold()
    found = _from_json(path, sizes) if kind == ".json" else read_csv(path) if kind in _TEXT else None
    if isinstance(found, RawTable):
        raw, sized = with_sizes(found, sizes)
        return apply_handling(raw, handling, layers=(*sized, *layers), formats=formats)
    if sizes.models:
        raise InvalidInput(f"{os.fspath(path)!r} says itself how large its layers are: leave the shapes away")
    if found is not None:
        return Imported(found)
    if kind == ".npz":
        raw, batches, beside = read_npz(path)
        imported = apply_handling(raw, handling, layers=layers, formats=formats)
        imported = replace(imported, table=replace(imported.table, **beside._asdict()))
        if any(finding.answer not in ("keep", "error") for finding in imported.findings):
            return imported  # what single batches contributed is no longer what the losses are made of
        return Imported(with_batches(imported.table, batches, os.fspath(path)), imported.findings)
    raise unknown("kind of table", kind or os.fspath(path), (".json", ".npz", *_TEXT))


def _from_json(path: str | os.PathLike[str], sizes: Sizes) -> SensitivityTable | RawTable:
    """A table of ours, or what another tool's JSON holds."""
    document = read_json(path, KIND)
    reader = None if isinstance(document, dict) and "schema" in document else reader_of(document)
    if reader is not None:
        return reader.read(os.fspath(path), document, sizes)
    if isinstance(document, dict) and "schema" in document:
        return SensitivityTable.from_document(document, os.fspath(path))
    known = ", ".join(each.name for each in READERS)
    raise InvalidInput(f"{os.fspath(path)!r} is no {KIND} of mckp-quant: it has no schema, and is no file of {known}")


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
