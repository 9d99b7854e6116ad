"""Tables as npz: plain arrays, nothing that would have to be unpickled."""

from __future__ import annotations

import dataclasses
import json
import os
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ...common.files import parse_json, readable
from ...common.npz import read_npz_arrays, write_npz_arrays
from ...errors import InvalidInput
from ...formats.file_facts import FileFacts
from ...formats.ranges import ActivationRanges
from ...layers import Activation
from .. import cells
from ..findings import Place
from ..raw import Cell, FormatFacts, LayerFacts, RawTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..table import SensitivityTable

_LAYER = {"kind": "kind", "shape": "shape", "elements": "elements", "channels": "channels", "macs": "macs"}
_COUNTS, _UNKNOWN = ("channels", "macs"), -1
_FORMAT = ("weight_bits", "activation_bits")
_WORDS = ("kind", "ties")
_ABOUT = ("unit", "method", "samples", "seed", "likelihood", "classes", "rounder")
_READ = ("loss", "layer", "format", "stderr", "stored_bits", "bytes", "ties", *_LAYER, *_FORMAT, *_ABOUT)
_BATCHES = ("contributions", "weights")
_TENSOR = ("elements", "first", "last")
_RANGES, _FILES = "activation_ranges", "files"
_TENSORS = tuple(f"activation_{key}" for key in (*_TENSOR, "readers"))


class Beside(NamedTuple):
    """What a table knows of its network beside the losses, by the names of the table's fields."""

    activations: tuple[Activation, ...]
    ranges: ActivationRanges | None
    files: tuple[FileFacts, ...]


def read_npz(
    path: str | os.PathLike[str],
) -> tuple[RawTable, dict[str, NDArray[np.float64]], Beside]:
    """Read the arrays of a table.

    Needed are ``layer`` ``(n_layers,)`` and ``format`` ``(n_formats,)``, names as text, and ``loss``
    ``(n_layers, n_formats)``; nan stands for a format that is not allowed where ``barred`` (the same shape, bool) says
    so, and for a missing number elsewhere.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    raw
        What was found.
    batches
        ``contributions`` and ``weights``, where the file holds them.
    beside
        The activation tensors, where the file holds ``activation_elements``, ``activation_first``, ``activation_last``
        and ``activation_readers``, names separated by semicolons; the ranges of activations and what targets' files
        take, where it holds ``activation_ranges`` and ``files``, each a JSON document as one text.

    Raises
    ------
    InvalidInput
        When the file is no npz, would have to be unpickled, lacks an array, or shapes disagree.
    """
    source = os.fspath(path)
    arrays = read_npz_arrays(source, "table", {*_READ, *_BATCHES, *_TENSORS, _RANGES, _FILES, "barred"})
    with readable(source):
        return _read(source, arrays)


def _read(source: str, arrays: dict[str, NDArray[Any]]) -> tuple[RawTable, dict[str, NDArray[np.float64]], Beside]:
    names = _names(source, arrays, "layer"), _names(source, arrays, "format")
    shape = (len(names[0]), len(names[1]))
    loss = _numbers(source, arrays, "loss", shape)
    stderr = _numbers(source, arrays, "stderr", shape) if "stderr" in arrays else None
    barred = _numbers(source, arrays, "barred", shape).astype(bool) if "barred" in arrays else np.zeros(shape, bool)
    stored, size = next(
        ((_numbers(source, arrays, n, shape), s) for n, s in (("stored_bits", 1), ("bytes", 8)) if n in arrays),
        (None, 1),
    )
    layers = {
        name: LayerFacts(name, _facts(source, arrays, row, shape[0]), source, row) for row, name in enumerate(names[0])
    }
    formats = {
        name: FormatFacts(*(_bits(source, arrays, key, column, shape[1]) for key in _FORMAT))
        for column, name in enumerate(names[1])
    }
    found = tuple(
        Cell(
            layer,
            entry,
            "not allowed" if barred[row, column] else loss[row, column].item(),
            Place(source, row, f"loss of {entry}"),
            None if stderr is None else stderr[row, column].item(),
            _stored(stored, size, row, column, Place(source, row, f"stored bits of {entry}")),
            Place(source, row, f"stored bits of {entry}"),
        )
        for row, layer in enumerate(names[0])
        for column, entry in enumerate(names[1])
    )
    about = {key: str(arrays[key]) for key in _ABOUT if key in arrays and arrays[key].ndim == 0}
    batches = {key: _floats(source, arrays[key], key) for key in _BATCHES if key in arrays}
    raw = RawTable(source, layers, formats, found, about)
    return raw, batches, Beside(_activations(source, arrays), _ranges(source, arrays), _files(source, arrays))


def write_npz(table: SensitivityTable, path: str | os.PathLike[str]) -> None:
    """Write a table as plain arrays, whole or not at all.

    Parameters
    ----------
    table
        The table.
    path
        Where to write.
    """
    arrays: dict[str, Any] = {
        "layer": np.array(table.layer_names),
        "kind": np.array([layer.kind for layer in table.layers]),
        "shape": np.array(["" if each.channels is None else "x".join(map(str, each.shape)) for each in table.layers]),
        "elements": np.array([layer.elements for layer in table.layers], dtype=np.int64),
        "channels": _known([layer.channels for layer in table.layers]),
        "macs": _known([layer.macs for layer in table.layers]),
        "ties": np.array([cells.joined(layer.ties) for layer in table.layers]),
        "format": np.array(table.format_names),
        "weight_bits": np.array([entry.weight_bits for entry in table.formats], dtype=np.int64),
        "activation_bits": np.array([entry.activation_bits or 0 for entry in table.formats], dtype=np.int64),
        "stored_bits": np.array([[entry.storage_bits(layer) for entry in table.formats] for layer in table.layers]),
        "loss": table.loss,
        "barred": np.isnan(table.loss),
        "stderr": table.stderr,
        **{key: np.array(getattr(table, key)) for key in _ABOUT},
    }
    if table.activations:
        arrays |= {f"activation_{key}": np.array([getattr(each, key) for each in table.activations]) for key in _TENSOR}
        arrays["activation_readers"] = np.array([cells.joined(each.readers) for each in table.activations])
    if table.contributions is not None and table.batch_sizes is not None:
        arrays |= {"contributions": table.contributions, "weights": table.batch_sizes}
    if table.files:
        arrays[_FILES] = np.array(json.dumps([each.document() for each in table.files]))
    if table.ranges is not None:
        arrays[_RANGES] = np.array(json.dumps(table.ranges.document()))
    write_npz_arrays(path, arrays)


def with_batches(table: SensitivityTable, batches: dict[str, NDArray[np.float64]], source: str) -> SensitivityTable:
    """The table with the contributions of single batches; raises InvalidInput where they do not fit."""
    if len(batches) < len(_BATCHES):
        return table
    try:
        return dataclasses.replace(table, contributions=batches["contributions"], batch_sizes=batches["weights"])
    except InvalidInput as error:
        raise InvalidInput(f"{source}: {error}") from error


def _names(source: str, arrays: dict[str, NDArray[Any]], name: str) -> list[str]:
    array = _need(source, arrays, name)
    if array.ndim != 1 or array.dtype.kind != "U":
        raise InvalidInput(
            f"{source}, row 0, column {name!r}: the array has the type {array.dtype} and the shape {array.shape}: "
            "it must hold names, in one dimension"
        )
    found: list[str] = array.tolist()
    known: set[str] = set()
    for row, entry in enumerate(found):
        if not entry or entry in known:
            problem = "stands twice" if entry else "is no name"
            raise InvalidInput(f"{source}, row {row}, column {name!r}: {entry!r} {problem}")
        known.add(entry)
    return found


def _need(source: str, arrays: dict[str, NDArray[Any]], name: str) -> NDArray[Any]:
    if name not in arrays:
        raise InvalidInput(f"{source} lacks the array {name!r}: a table needs layer, format and loss")
    return arrays[name]


def _numbers(source: str, arrays: dict[str, NDArray[Any]], name: str, shape: tuple[int, int]) -> NDArray[Any]:
    array = _need(source, arrays, name)
    if array.dtype.kind not in "biuf" or array.shape != shape:
        raise InvalidInput(
            f"{source}, row {min(len(array), shape[0]) if array.ndim else 0}, column {name!r}: the array has the type "
            f"{array.dtype} and the shape {array.shape}: it must hold numbers in the shape {shape}, layers by formats"
        )
    return array


def _activations(source: str, arrays: dict[str, NDArray[Any]]) -> tuple[Activation, ...]:
    if not all(name in arrays for name in _TENSORS):
        return ()
    columns = [arrays[name] for name in _TENSORS]
    for name, column in zip(_TENSORS, columns, strict=True):
        if column.shape != (len(columns[0]),) or column.dtype.kind not in ("U" if name.endswith("readers") else "iuf"):
            raise InvalidInput(
                f"{source}, row 0, column {name!r}: the array has the type {column.dtype} and the shape "
                f"{column.shape}: it must hold an entry for each of the {len(columns[0])} tensors"
            )
    found = []
    for row, entries in enumerate(zip(*(column.tolist() for column in columns), strict=True)):
        places = (Place(source, row, name) for name in _TENSORS)
        elements, first, last = (cells.whole(*pair) for pair in zip(entries[:3], places, strict=False))
        try:
            found.append(Activation(elements, first, last, cells.names(entries[3], Place(source, row, _TENSORS[3]))))
        except InvalidInput as error:
            raise InvalidInput(f"{source}, row {row}, column {_TENSORS[0]!r}: {error}") from error
    return tuple(found)


def _ranges(source: str, arrays: dict[str, NDArray[Any]]) -> ActivationRanges | None:
    if _RANGES not in arrays:
        return None
    place = f"{source}, row 0, column {_RANGES!r}"
    return ActivationRanges.from_document(parse_json(str(arrays[_RANGES]), place, "activation ranges"), place)


def _files(source: str, arrays: dict[str, NDArray[Any]]) -> tuple[FileFacts, ...]:
    if _FILES not in arrays:
        return ()
    place = f"{source}, row 0, column {_FILES!r}"
    found = parse_json(str(arrays[_FILES]), place, "files")
    if not isinstance(found, list):
        raise InvalidInput(f"{place}: {found!r} must be a list, with an entry for each form of file")
    return tuple(FileFacts.from_document(entry, place) for entry in found)


def _stored(stored: NDArray[Any] | None, size: int, row: int, column: int, place: Place) -> int | None:
    if stored is None or stored[row, column] < 0:
        return None
    return size * cells.whole(stored[row, column].item(), place)


def _floats(source: str, array: NDArray[Any], name: str) -> NDArray[np.float64]:
    if array.dtype.kind not in "iuf":
        raise InvalidInput(f"{source}, row 0, column {name!r}: the array has the type {array.dtype}: give numbers")
    return array.astype(np.float64)


def _facts(source: str, arrays: dict[str, NDArray[Any]], row: int, n_rows: int) -> dict[str, object]:
    facts: dict[str, object] = {}
    for name in (*_LAYER, "ties"):
        if name not in arrays:
            continue
        if arrays[name].shape[:1] != (n_rows,) or arrays[name].ndim > 2:
            raise InvalidInput(
                f"{source}, row 0, column {name!r}: the array has the shape {arrays[name].shape}: it must have an "
                f"entry for each of the {n_rows} layers"
            )
        if name in _WORDS and arrays[name].dtype.kind != "U":
            raise InvalidInput(
                f"{source}, row 0, column {name!r}: the array has the type {arrays[name].dtype}: it must hold text"
            )
        facts[name] = arrays[name][row].tolist()
    return {name: entry for name, entry in facts.items() if not (name in _COUNTS and entry == _UNKNOWN)}


def _known(counts: list[int | None]) -> NDArray[np.int64]:
    return np.array([_UNKNOWN if count is None else count for count in counts], dtype=np.int64)


def _bits(source: str, arrays: dict[str, NDArray[Any]], name: str, column: int, n_columns: int) -> int | None:
    if name not in arrays:
        return None
    array = arrays[name]
    if array.shape != (n_columns,) or array.dtype.kind not in "iu" or (array < 0).any():
        raise InvalidInput(
            f"{source}, row 0, column {name!r}: the array has the type {array.dtype} and the shape {array.shape}: "
            f"it must hold a whole number for each of the {n_columns} formats, 0 where there is none"
        )
    return int(array[column]) or None
