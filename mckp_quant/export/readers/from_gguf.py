"""Reads GGUF files, and the tensor-type files of llama-quantize."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ...common.packages import require
from ...errors import InvalidInput
from ...formats.format import Format
from ...formats.storage import GGUF_BLOCKS
from ..contract import Stored
from ..gguf_blocks import FORMATS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from ...layers import Layer

EXTRA = "gguf"
MODEL = "model.gguf"
TYPES_FILE = "tensor_types.txt"
PLAIN = ("F64", "F32", "F16", "BF16")  # what float weights are stored in

_FLOAT = Format.named("float")


def block_format(kind: str) -> Format:
    """The format of a GGUF type: float, one of ours where it is the same, else the type under its own name.

    Parameters
    ----------
    kind
        Such as ``"Q8_0"`` or ``"Q4_K"``.

    Returns
    -------
    entry
        With the bits that blocks of the type take.

    Raises
    ------
    InvalidInput
        When the type is not known.
    """
    if kind in PLAIN:
        return _FLOAT
    if kind in FORMATS:
        return Format.named(FORMATS[kind])
    if kind not in GGUF_BLOCKS:
        raise InvalidInput(f"the GGUF type {kind!r} is not known: it is none of {', '.join(GGUF_BLOCKS)}")
    size, stored = GGUF_BLOCKS[kind]

    def bits(layer: Layer) -> int:
        return layer.channels * -(-(layer.elements // layer.channels) // size) * stored * 8

    return Format(kind, max(1, 8 * stored // size), stored_bits=bits)


def open_file(path: Path) -> Any:
    """A ``gguf.GGUFReader``; raises InvalidInput where the file is missing or something else."""
    gguf = require("gguf", EXTRA)
    try:
        return gguf.GGUFReader(path)
    except (OSError, ValueError, LookupError, OverflowError) as error:
        raise InvalidInput(f"cannot read the GGUF file {str(path)!r}: {error}") from error


def weight_of(tensor: Any) -> Any:
    """A tensor of a reader as float32, dequantised where the Python package can; None where it cannot."""
    gguf, torch = require("gguf", EXTRA), require("torch", EXTRA)
    try:
        array = gguf.dequantize(tensor.data, tensor.tensor_type)
    except NotImplementedError:
        return None
    return torch.from_numpy(array.reshape(tuple(reversed(tensor.shape.tolist()))).copy())


def stored_tensors(path: Path, *, weights: bool = True) -> dict[str, Stored]:
    """What a file says of its tensors of at least two dimensions.

    Parameters
    ----------
    path
        The file.
    weights
        Whether to dequantise the tensors too.

    Returns
    -------
    stored
        By the names of the tensors.
    """
    found = {}
    for tensor in open_file(path).tensors:
        if len(tensor.shape) > 1:
            entry = block_format(tensor.tensor_type.name)
            found[tensor.name] = Stored(entry, int(tensor.n_bytes), tensor.name, weight_of(tensor) if weights else None)
    return found


def read_types(path: Path) -> list[tuple[str, str]]:
    """The lines of a tensor-type file: patterns, and the names of types in capitals; raises InvalidInput."""
    try:
        lines = path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"cannot read the tensor types {str(path)!r}: {error}") from error
    pairs = []
    for line in lines:
        pattern, equals, kind = line.rpartition("=")
        if not equals or kind.upper() not in GGUF_BLOCKS:
            raise InvalidInput(f"{str(path)!r} has the line {line!r}: expected pattern=type, such as ^output$=q8_0")
        pairs.append((pattern, kind.upper()))
    return pairs


def types_of(rules: Iterable[tuple[str, str]], tensors: Iterable[str]) -> Mapping[str, str | None]:
    """The type that llama-quantize gives each tensor: the first pattern that is found in its name counts."""
    compiled = [(re.compile(pattern), kind) for pattern, kind in rules]
    return {name: next((kind for pattern, kind in compiled if pattern.search(name)), None) for name in tensors}
