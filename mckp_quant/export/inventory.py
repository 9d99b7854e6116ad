"""What an ONNX file holds, without a table: formats, bytes, and how far its weights are from the float ones."""

from __future__ import annotations

import math
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InvalidInput, unknown
from ..formats.schemes import FLOAT
from .readers import from_onnx

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from .contract import Stored


@dataclass(frozen=True)
class StoredLayer:
    """One weight of an artefact.

    Attributes
    ----------
    layer
        The layer's name.
    format
        The name of its format.
    weights
        How many numbers it holds.
    nbytes
        Bytes that they take in the file, scales and zero points counted.
    squared_error
        The sum of squared differences from the float weight; None where that is not at hand.
    relative_error
        The same as a part of the float weight's own sum of squares.
    """

    layer: str
    format: str
    weights: int
    nbytes: int
    squared_error: float | None = None
    relative_error: float | None = None


@dataclass(frozen=True)
class Contents:
    """What an artefact holds.

    Attributes
    ----------
    layers
        Its weights.
    file_bytes
        The size of the file.
    unmatched
        Layers of which the float file has no weight of the same size.
    """

    layers: tuple[StoredLayer, ...]
    file_bytes: int
    unmatched: tuple[str, ...] = ()

    def __str__(self) -> str:
        """The totals in one sentence."""
        count, nbytes = sum(each.weights for each in self.layers), sum(each.nbytes for each in self.layers)
        quantised = sum(each.format != FLOAT for each in self.layers)
        bits = f"{8 * nbytes / count:.3f} bits per weight" if count else "no weights"
        return (
            f"{len(self.layers)} layers, {quantised} of them quantised: {count:,} weights in {nbytes:,} bytes, {bits}; "
            f"{self.file_bytes:,} bytes on disk"
        )

    def document(self) -> dict[str, Any]:
        """The contents in plain types, for JSON."""
        return {
            "layers": [asdict(each) for each in self.layers],
            "file_bytes": self.file_bytes,
            "unmatched": list(self.unmatched),
        }


def contents(path: str | os.PathLike[str], original: str | os.PathLike[str] | None = None) -> Contents:
    """Say what an ONNX file holds.

    Parameters
    ----------
    path
        The file, or a folder with one.
    original
        The float file that it was made from, whose weights have the same names; None to leave errors out.

    Returns
    -------
    contents
        Every weight that the graph multiplies with, in the order of its nodes.

    Raises
    ------
    InvalidInput
        When there is no ONNX file, or it holds no weights; when the two have no layer in common.
    """
    file = _file(path)
    found = from_onnx.stored_layers(from_onnx.load(file))
    if not found:
        raise InvalidInput(f"{os.fspath(path)!r} holds no weight of two or more dimensions")
    if original is None:
        return Contents(tuple(_row(name, each) for name, each in found.items()), file.stat().st_size)
    floats = from_onnx.stored_layers(from_onnx.load(_file(original)))
    if not floats.keys() & found.keys():
        raise unknown(f"layer in {os.fspath(original)!r}:", next(iter(found)), floats)
    rows = tuple(_compared(name, each, floats) for name, each in found.items())
    return Contents(rows, file.stat().st_size, tuple(each.layer for each in rows if each.squared_error is None))


def _file(path: str | os.PathLike[str]) -> Path:
    place = Path(path)
    files = sorted(place.glob("*.onnx")) if place.is_dir() else [place]
    if len(files) != 1 or files[0].suffix != ".onnx":
        raise InvalidInput(
            f"{os.fspath(path)!r} is no ONNX file: without a table the contents of ONNX files are shown; give --table "
            "with the sensitivities of the network"
        )
    return files[0]


def _row(name: str, stored: Stored) -> StoredLayer:
    # Where a scale is not found there is no weight, and a byte is a number.
    count = stored.nbytes if stored.weight is None else stored.weight.numel()
    return StoredLayer(name, stored.format.name, count, stored.nbytes)


def _compared(name: str, stored: Stored, floats: Mapping[str, Stored]) -> StoredLayer:
    row = _row(name, stored)
    own = floats.get(name)
    if own is None or own.weight is None or stored.weight is None or own.weight.numel() != stored.weight.numel():
        return row
    wanted, got = own.weight.double().numpy(), stored.weight.double().numpy()
    error = min(float(((each - wanted) ** 2).sum()) for each in _turned(got, wanted.shape))
    size = float((wanted**2).sum())
    return StoredLayer(name, row.format, row.weights, row.nbytes, error, error / size if size else math.nan)


def _turned(array: NDArray[Any], shape: tuple[int, ...]) -> list[NDArray[Any]]:
    """The ways in which a weight may lie: as it is, or with its last two dimensions exchanged, as tools store them."""
    made = [array, np.swapaxes(array, -1, -2)]
    same = [each for each in made if each.shape == shape]
    return same or [each.reshape(shape) for each in made]
