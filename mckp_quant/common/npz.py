"""Plain arrays in npz files, with or without a kind and a version; nothing is ever unpickled."""

from __future__ import annotations

import io
import json
import os
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InvalidInput
from .documents import PREFIX, check_schema, plain, write_bytes

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from numpy.typing import NDArray

_ABOUT = "document"  # the array that holds everything else, as JSON


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
    try:
        document = json.loads(str(arrays.pop(_ABOUT, None)))
    except json.JSONDecodeError:
        document = None
    return check_schema(document, os.fspath(path), kind, version), arrays


def write_npz_arrays(path: str | os.PathLike[str], arrays: Mapping[str, Any]) -> None:
    """Write plain arrays as npz, whole or not at all."""
    content = io.BytesIO()
    np.savez_compressed(content, **dict(arrays))
    write_bytes(path, content.getvalue())


def read_npz_arrays(
    path: str | os.PathLike[str], kind: str, known: Container[str] | None = None
) -> dict[str, NDArray[Any]]:
    """Read the plain arrays of an npz file, or only those of known names.

    Raises InvalidInput where the file is missing, truncated, no npz, or an array that is read would have to be
    unpickled.
    """
    try:
        with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files if known is None or name in known}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError, TypeError) as error:
        raise InvalidInput(f"cannot read the {kind} {os.fspath(path)!r}: {error}") from error
