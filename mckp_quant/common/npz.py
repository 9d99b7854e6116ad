"""Plain arrays in npz files, with or without a kind and a version; nothing is ever unpickled.

The file says how large its arrays are before anything is unpacked: what does not add up is refused there.
"""

from __future__ import annotations

import io
import json
import math
import os
import zipfile
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from ..errors import InvalidInput
from .documents import PREFIX, check_schema, plain
from .files import opened, parse_json, readable, write_bytes

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from numpy.typing import NDArray

_ABOUT = "document"  # the array that holds everything else, as JSON
_ENDING = ".npy"
_KINDS = "biufU"  # of dtypes: truth values, whole numbers, numbers, text
_ENCRYPTED = 1  # of the flags of a member
_PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # what NumPy writes
_UNPACKED = 2**31  # bytes that any file may unpack to
_RATIO = 32  # larger files may unpack to this many times their own size
_HEADER = 10_000  # bytes
_LONGEST = 2**40  # of a dimension
_HIGHEST, _SURROGATES = 0x10FFFF, (0xD800, 0xDFFF)  # code points


def write_arrays(
    path: str | os.PathLike[str],
    kind: str,
    version: int,
    document: Mapping[str, Any],
    arrays: Mapping[str, NDArray[np.float64]],
) -> None:
    """Write arrays and what belongs to them, whole or not at all.

    Parameters
    ----------
    path
        Where to write.
    kind, version
        As for `write_document`.
    document
        What is no array, in plain types.
    arrays
        By name.
    """
    about = json.dumps(plain({"schema": f"{PREFIX}/{kind}/{version}", **document}), allow_nan=False)
    write_npz_arrays(path, {_ABOUT: np.array(about), **arrays})


def read_arrays(
    path: str | os.PathLike[str], kind: str, version: int
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Read what `write_arrays` wrote.

    Parameters
    ----------
    path
        The file.
    kind, version
        As for `read_document`.

    Returns
    -------
    document, arrays
        What was written; the caller checks what it needs.

    Raises
    ------
    InvalidInput
        When the file is missing, truncated, no npz, of another kind, written by a newer version, or would have to be
        unpickled.
    """
    arrays = read_npz_arrays(path, kind)
    about = arrays.pop(_ABOUT, None)
    document = None if about is None else parse_json(str(about), f"{os.fspath(path)!r}, {_ABOUT!r}", kind)
    return check_schema(document, os.fspath(path), kind, version), arrays


def write_npz_arrays(path: str | os.PathLike[str], arrays: Mapping[str, Any]) -> None:
    """Write plain arrays as npz, whole or not at all."""
    content = io.BytesIO()
    np.savez_compressed(content, **dict(arrays))
    write_bytes(path, content.getvalue())


def read_npz_arrays(
    path: str | os.PathLike[str], kind: str, known: Collection[str] | None = None
) -> dict[str, NDArray[Any]]:
    """Read the plain arrays of an npz file, or only those of known names.

    Parameters
    ----------
    path
        The file.
    kind
        What it is thought to be, for errors.
    known
        The names; what else the file holds is not looked at. By default all.

    Returns
    -------
    arrays
        By name, in the order of the file: numbers, truth values or text.

    Raises
    ------
    InvalidInput
        When the file is missing, truncated, no npz, or an array that is read is damaged, would have to be unpickled, or
        unpacks to more than files of its size hold.
    """
    source = f"the {kind} {os.fspath(path)!r}"
    with opened(path, kind) as file, readable(source), zipfile.ZipFile(file) as archive:
        members = {}
        for member in archive.infolist():
            name = member.filename.removesuffix(_ENDING)
            if known is None or name in known:
                if name in members:
                    raise InvalidInput(f"cannot read {source}: it holds the array {name!r} twice")
                members[name] = member
        size = sum(member.file_size for member in members.values())
        most = max(_UNPACKED, _RATIO * file.seek(0, os.SEEK_END))
        if size > most:
            raise InvalidInput(
                f"cannot read {source}: its arrays take {size:,} bytes unpacked, and no {kind} of its size holds more "
                f"than {most:,}; write it with np.savez, which does not compress, if it is right"
            )
        return {name: _member(archive, member, f"{source}, array {name!r}") for name, member in members.items()}


def npz_names(path: str | os.PathLike[str], kind: str) -> tuple[str, ...]:
    """The names of all arrays of an npz file; raises InvalidInput as `read_npz_arrays` does."""
    with opened(path, kind) as file, readable(f"the {kind} {os.fspath(path)!r}"), zipfile.ZipFile(file) as archive:
        return tuple(name.removesuffix(_ENDING) for name in archive.namelist())


def read_npy_array(path: str | os.PathLike[str], kind: str) -> NDArray[Any]:
    """Read one plain array from an npy file; raises InvalidInput as `read_npz_arrays` does."""
    source = f"the {kind} {os.fspath(path)!r}"
    with opened(path, kind) as file, readable(source):
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        return _array(file, size, source)


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, source: str) -> NDArray[Any]:
    cure = "write it again with np.savez or np.savez_compressed"
    if member.flag_bits & _ENCRYPTED:
        raise InvalidInput(f"cannot read {source}: it is encrypted; {cure}")
    if member.compress_type not in _PACKED:
        raise InvalidInput(f"cannot read {source}: it is compressed in way {member.compress_type}; {cure}")
    with readable(source), archive.open(member) as file:
        return _array(file, member.file_size, source)  # type: ignore[arg-type]


def _array(file: BinaryIO, size: int, source: str) -> NDArray[Any]:
    """The array in a file of so many bytes: nothing is made of it before its header agrees with its size."""
    version = np.lib.format.read_magic(file)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if read is None:
        raise InvalidInput(f"cannot read {source}: its form is {version}, known are (1, 0) and (2, 0)")
    shape, by_columns, dtype = read(file, max_header_size=_HEADER)
    if dtype.kind not in _KINDS or dtype.names is not None or dtype.subdtype is not None:
        raise InvalidInput(f"cannot read {source}: it holds {dtype}, give numbers or text; nothing is unpickled")
    if any(isinstance(length, bool) or not 0 <= length < _LONGEST for length in shape) or not dtype.itemsize:
        raise InvalidInput(f"cannot read {source}: it says that its shape is {shape} and its type {dtype}")
    count = math.prod(shape)
    if count * dtype.itemsize != size - file.tell():
        raise InvalidInput(
            f"cannot read {source}: it says that its shape is {shape} and its type {dtype}, which is not what "
            f"{size - file.tell():,} bytes hold; it was cut off or is damaged"
        )
    content = bytearray(count * dtype.itemsize)
    view, at = memoryview(content), 0
    while at < len(content):
        taken = file.readinto(view[at:])  # type: ignore[attr-defined]
        if not taken:
            raise InvalidInput(f"cannot read {source}: it ends after {at:,} of {len(content):,} bytes")
        at += taken
    file.read(1)  # at the end the checksum is compared
    found: NDArray[Any] = np.frombuffer(content, dtype=dtype) if content else np.zeros(count, dtype)
    if dtype.kind == "U":
        _check_text(found, source)
    if dtype.kind == "b":
        found = found.view(np.uint8) != 0  # other bytes than 0 and 1 are truth values of no kind
    return found.astype(dtype.newbyteorder("="), copy=False).reshape(shape, order="F" if by_columns else "C")


def _check_text(found: NDArray[Any], source: str) -> None:
    points = found.view(np.uint32 if found.dtype.isnative else np.dtype(np.uint32).newbyteorder())
    if points.size and bool(((points > _HIGHEST) | ((points >= _SURROGATES[0]) & (points <= _SURROGATES[1]))).any()):
        raise InvalidInput(f"cannot read {source}: its text holds what is no character; it is damaged")
