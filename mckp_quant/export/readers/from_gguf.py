"""Reads GGUF files, and the tensor-type files of llama-quantize."""

from __future__ import annotations

import functools
import os
import re
import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ...common.files import check_regular, opened, read_text, readable
from ...common.packages import require
from ...errors import InvalidInput
from ...formats.blocks import GGML_FORMATS, GGUF_BLOCKS
from ...formats.format import Format
from ..contract import Stored
from ..gguf_blocks import FORMATS, HALVES, from_blocks

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path
    from typing import BinaryIO

    from torch import Tensor

    from ...layers import Layer
    from ...rounding.encoded import BlockWeight, EncodedWeight

EXTRA = "gguf"
MODEL = "model.gguf"
TYPES_FILE = "tensor_types.txt"
PLAIN = ("F64", "F32", "F16", "BF16")  # what float weights are stored in

_PART = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.gguf")
_FLOAT = Format.named("float")

_START = 24  # bytes before the metadata: four letters, the version, the numbers of tensors and of entries
_WIDTH = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}  # bytes of a value, by its kind
_STRING, _ARRAY = 8, 9
_MOST_LEVELS = 8
_CURE = "the file was cut off or is damaged, get it again"


def block_format(kind: str, *, halves: bool = False) -> Format:
    """The format of a GGUF type: float, one of ours where there is one, else the type under its own name.

    ``"Q4_0"``, ``"Q5_0"`` and ``"Q8_0"`` are ``"w4g32"`` and its like: a file does not say how a weight was rounded.

    Parameters
    ----------
    kind
        Such as ``"Q8_0"`` or ``"Q4_K"``.
    halves
        Whether ``"F16"`` and ``"BF16"`` are formats of their own, for who chose between them and others.

    Returns
    -------
    entry
        With the bits that blocks of the type take.

    Raises
    ------
    InvalidInput
        When the type is not known.
    """
    if kind in PLAIN and not (halves and kind in HALVES):
        return _FLOAT
    if kind in FORMATS:
        return Format.named(FORMATS[kind])
    if kind.lower() in GGML_FORMATS:
        return Format.named(kind.lower())
    if kind not in GGUF_BLOCKS:
        raise InvalidInput(f"the GGUF type {kind!r} is not known: it is none of {', '.join(GGUF_BLOCKS)}")
    size, stored = GGUF_BLOCKS[kind]

    def bits(layer: Layer) -> int:
        return layer.known_channels * -(-layer.row // size) * stored * 8

    rounded = functools.partial(_rounded, kind) if kind in HALVES else None
    return Format(kind, max(1, 8 * stored // size), quantize=rounded, stored_bits=bits)


def _rounded(kind: str, weight: Any) -> Any:
    """A weight as the Python package rounds it to a type."""
    gguf, torch = require("gguf", EXTRA), require("torch", EXTRA)
    number = gguf.GGMLQuantizationType[kind]
    array = weight.detach().float().cpu().numpy()
    return torch.from_numpy(gguf.dequantize(gguf.quantize(array, number), number).reshape(array.shape).copy())


@dataclass(frozen=True, eq=False)
class GgufModel:
    """A model in one GGUF file or in all parts of a split one.

    Attributes
    ----------
    fields
        The metadata by name, of the first part; what only says how it was split is left out.
    tensors
        The tensors of all parts, in order.
    """

    fields: dict[str, Any]
    tensors: list[Any]


def first_part(path: Path) -> Path:
    """The first part of a split model, by the name of any part; other paths are given back."""
    match = _PART.fullmatch(path.name)
    return path if match is None else path.with_name(f"{match[1]}-00001-of-{match[3]}.gguf")


def open_file(path: Path) -> GgufModel:
    """Read a model, with all parts where it was split.

    Parameters
    ----------
    path
        The file, or any part.

    Returns
    -------
    model
        What it holds.

    Raises
    ------
    InvalidInput
        When a file is missing, is something else, or is not the part that its name says.
    """
    reader = _reader(path)
    count = _number(reader, "split.count")
    if count <= 1:
        return GgufModel(_metadata(reader), list(reader.tensors))
    match = _PART.fullmatch(path.name)
    if match is None or int(match[3]) != count:
        raise InvalidInput(
            f"{str(path)!r} is part {_number(reader, 'split.no') + 1} of {count} of a model, and its name does not say "
            f"where the others are: call the parts NAME-00001-of-{count:05d}.gguf and so on, or merge them with "
            "llama-gguf-split --merge"
        )
    readers = []
    for number in range(count):
        part = path.with_name(f"{match[1]}-{number + 1:05d}-of-{match[3]}.gguf")
        if not part.exists():
            raise InvalidInput(
                f"{str(path)!r} is one of {count} parts of a model, and part {number + 1} is missing: {str(part)!r} "
                "does not exist; put all parts into one folder"
            )
        readers.append(_reader(part))
        if (_number(readers[-1], "split.no"), _number(readers[-1], "split.count")) != (number, count):
            raise InvalidInput(f"{str(part)!r} is not part {number + 1} of {count}, as its name says: get it again")
    tensors = [tensor for each in readers for tensor in each.tensors]
    whole = _number(readers[0], "split.tensors.count")
    if whole not in (0, len(tensors)):
        raise InvalidInput(
            f"the {count} parts of {str(path)!r} hold {len(tensors)} tensors, but the model has {whole}: they are of "
            "different models, get them again"
        )
    return GgufModel(_metadata(readers[0]), tensors)


def _metadata(reader: Any) -> dict[str, Any]:
    return {name: field for name, field in reader.fields.items() if not name.startswith(("GGUF.", "split."))}


def _number(reader: Any, name: str) -> int:
    """A number among the metadata; 0 where it is not there."""
    field = reader.fields.get(name)
    return 0 if field is None else int(field.contents())


def _reader(path: Path) -> Any:
    """A ``gguf.GGUFReader``; raises InvalidInput where the file is missing or something else."""
    gguf = require("gguf", EXTRA)
    check_regular(path, "GGUF file")
    with readable(f"the GGUF file {str(path)!r}"):
        with opened(path, "GGUF file") as file:
            _check_metadata(file)
        return gguf.GGUFReader(path)


def _check_metadata(file: BinaryIO) -> None:
    """Refuse metadata that are longer than the file: the package would count through them without an end."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    start = file.read(_START)
    if len(start) < _START or not start.startswith(b"GGUF"):
        return  # the package says what it is not
    order = "<" if start[4:6] != b"\0\0" else ">"
    (entries,) = struct.unpack_from(f"{order}Q", start, 16)

    def number(code: str) -> int:
        (found,) = struct.unpack(order + code, file.read(struct.calcsize(code)))
        return int(found)

    def skip(count: int) -> None:
        if file.tell() + count > size:
            raise InvalidInput(
                f"its metadata say that {count:,} bytes follow at byte {file.tell():,} of {size:,}; {_CURE}"
            )
        file.seek(count, os.SEEK_CUR)

    def value(kind: int, depth: int) -> None:
        if kind == _STRING:
            skip(number("Q"))
        elif kind == _ARRAY and depth < _MOST_LEVELS:
            inner, count = number("I"), number("Q")
            if inner in _WIDTH:
                skip(count * _WIDTH[inner])
            else:
                for _ in range(count):  # each takes bytes, so the file ends before a false count does
                    value(inner, depth + 1)
        elif kind in _WIDTH:
            skip(_WIDTH[kind])
        else:
            raise InvalidInput(f"its metadata hold a value of kind {kind} in {depth} lists; {_CURE}")

    for _ in range(entries):
        skip(number("Q"))
        value(number("I"), 0)


def weight_of(tensor: Any) -> Any:
    """A tensor of a reader as float32, dequantised where the Python package can; None where it cannot."""
    gguf, torch = require("gguf", EXTRA), require("torch", EXTRA)
    try:
        array = gguf.dequantize(tensor.data, tensor.tensor_type)
    except NotImplementedError:
        return None
    return torch.from_numpy(array.reshape(tuple(reversed(tensor.shape.tolist()))).copy())


def stored_tensors(path: Path, *, weights: bool = True, halves: bool = False) -> dict[str, Stored]:
    """What a file says of its tensors of at least two dimensions.

    Parameters
    ----------
    path
        The file.
    weights
        Whether to dequantise the tensors too.
    halves
        As for `block_format`.

    Returns
    -------
    stored
        By the names of the tensors.
    """
    found = {}
    for tensor in open_file(path).tensors:
        if len(tensor.shape) > 1:
            entry = block_format(tensor.tensor_type.name, halves=halves)
            held = (weight_of(tensor), _codes(tensor)) if weights else (None, None)
            found[tensor.name] = Stored(entry, int(tensor.n_bytes), tensor.name, *held)
    return found


def _codes(tensor: Any) -> EncodedWeight | BlockWeight | None:
    """The integers and scales, or the blocks, of a tensor whose type is a format of ours; None for other types."""
    kind = tensor.tensor_type.name
    torch = require("torch", EXTRA)
    if kind not in FORMATS:
        from ...rounding.encoded import BlockWeight

        return BlockWeight(_data_of(tensor)) if kind.lower() in GGML_FORMATS else None
    from ..codes import as_encoded

    bits = Format.named(FORMATS[kind]).weight_bits
    integers, scales = from_blocks(tensor.data.reshape(-1, tensor.data.shape[-1]), bits)
    return as_encoded(torch.from_numpy(integers), torch.from_numpy(scales.copy()), None, bits)


def as_blocks(path: Path, stored: Mapping[str, Stored], formats: Mapping[str, Format]) -> dict[str, Stored]:
    """What a file says of tensors, for whoever knows the names under which a policy has their types.

    Parameters
    ----------
    path
        The file.
    stored
        What `stored_tensors` gives.
    formats
        By the names of tensors, the formats that were asked.

    Returns
    -------
    stored
        Those of the type of ``"q8_0"`` and its like have this format and blocks, where it was asked.
    """
    from ...rounding.encoded import BlockWeight

    found = dict(stored)
    for tensor in open_file(path).tensors:
        entry = formats.get(tensor.name)
        if entry is not None and entry.name in GGML_FORMATS and tensor.tensor_type.name == entry.name.upper():
            found[tensor.name] = replace(found[tensor.name], format=entry, codes=BlockWeight(_data_of(tensor)))
    return found


def _data_of(tensor: Any) -> Tensor:
    """The bytes of a tensor, ``(rows, bytes)``."""
    torch = require("torch", EXTRA)
    made: Tensor = torch.from_numpy(tensor.data.reshape(-1, tensor.data.shape[-1]).copy())
    return made


def read_types(path: Path) -> list[tuple[str, str]]:
    """The lines of a tensor-type file: patterns, and the names of types in capitals; raises InvalidInput."""
    lines = read_text(path, "tensor types").split()
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
