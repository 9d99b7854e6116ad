"""JSON documents with a kind and a version: written whole or not at all, and checked when they are read."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from typing import Any

from ..errors import InvalidInput
from .files import read_json, write_text

PREFIX = "mckp-quant"
_SEAL = "digest"
_HALF = re.compile(r"\\ud[89ab]")
# What makes a document of a kind, as a person types it.
_MAKERS = {
    "policy": ", as 'mckp-quant solve TABLE --budget ... -o FILE' writes it",
    "table": ", as 'mckp-quant measure MODEL --data ... -o FILE' writes it",
}
_VERSION = re.compile(r"[0-9]{1,9}")


def write_document(path: str | os.PathLike[str], kind: str, version: int, document: dict[str, Any]) -> None:
    """Write one JSON document of ours; nan becomes null.

    Parameters
    ----------
    path
        Where to write.
    kind
        Such as ``"table"`` or ``"policy"``.
    version
        The version of the schema of this kind.
    document
        What to write, in plain types.
    """
    whole = {"schema": f"{PREFIX}/{kind}/{version}", **document}
    text = json.dumps(plain(whole), indent=1, allow_nan=False) + "\n"
    if _HALF.search(text):  # of a pair, or alone, which is refused when it is read and so when it is written
        text = json.dumps(plain(whole), indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    write_text(path, text)


def read_document(path: str | os.PathLike[str], kind: str, version: int) -> dict[str, Any]:
    """Read one JSON document of ours.

    Parameters
    ----------
    path
        The file.
    kind
        The kind that it must be of.
    version
        The newest version that this code reads.

    Returns
    -------
    document
        The document, without its schema line.

    Raises
    ------
    InvalidInput
        When the file is missing, truncated, no JSON, of another kind, or written by a newer version.
    """
    document = read_json(path, kind)
    return check_schema(document, os.fspath(path), kind, version)


def sealed(document: dict[str, Any]) -> dict[str, Any]:
    """The content of a document in plain types with its digest, so that damage is seen when it is read.

    Parameters
    ----------
    document
        The content.

    Returns
    -------
    sealed
        The same, with ``"digest"`` behind.
    """
    whole: dict[str, Any] = plain(document)
    return {**whole, _SEAL: _digest(whole)}


def check_seal(document: dict[str, Any], source: str) -> None:
    """Refuse what is not as `sealed` made it.

    Parameters
    ----------
    document
        What was read.
    source
        Which file it is, for the error.

    Raises
    ------
    InvalidInput
        When its digest is another one, or missing.
    """
    if document.get(_SEAL) != _digest({name: entry for name, entry in document.items() if name != _SEAL}):
        raise InvalidInput(
            f"{source} is not as it was written: it is damaged or was edited by hand; delete it, or name another file"
        )


def _digest(document: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(document).encode()).hexdigest()


def check_schema(document: object, source: str, kind: str, version: int) -> dict[str, Any]:
    """The content of a document of this schema; raises InvalidInput where it has another one. `source` is its file."""
    schema = document.get("schema") if isinstance(document, dict) else None
    parts = schema.split("/") if isinstance(schema, str) else []
    if (
        not isinstance(document, dict)
        or len(parts) != 3
        or parts[:2] != [PREFIX, kind]
        or not _VERSION.fullmatch(parts[2])
    ):
        raise InvalidInput(
            f"{source!r} has the schema {schema!r}: expected a {kind} ('{PREFIX}/{kind}/{version}')"
            f"{_MAKERS.get(kind, '')}"
        )
    if int(parts[2]) > version:
        raise InvalidInput(
            f"{source!r} has the schema {schema!r}, which is newer than this version of mckp-quant reads "
            f"('{PREFIX}/{kind}/{version}'): upgrade mckp-quant"
        )
    return {key: entry for key, entry in document.items() if key != "schema"}


def field(document: dict[str, Any], name: str, source: str) -> Any:
    """The entry of a document, or an error that names it; `source` says which file it is from."""
    if name not in document:
        raise InvalidInput(f"{source} lacks the field {name!r}: it was edited by hand or is something else")
    return document[name]


def entries(document: dict[str, Any], name: str, source: str) -> list[Any]:
    """The list under this name in a document, or an error that names it; `source` says which file it is from."""
    found = field(document, name, source)
    if not isinstance(found, list):
        raise InvalidInput(f"{source} has {name} = {found!r}: it must be a list")
    return found


def whole(entry: object, name: str, source: str) -> int:
    """A whole number of a document, never a rounded one; `source` says which file it is from."""
    if isinstance(entry, bool) or not isinstance(entry, int):
        raise InvalidInput(f"{source} has {name} = {entry!r}: it must be a whole number")
    return entry


def plain(entry: Any) -> Any:
    """The same in plain types for JSON: arrays as lists, nan and infinities as null, tuples as lists."""
    if hasattr(entry, "tolist"):
        entry = entry.tolist()
    if isinstance(entry, float):
        return entry if math.isfinite(entry) else None
    if isinstance(entry, dict):
        return {str(key): plain(inner) for key, inner in entry.items()}
    if isinstance(entry, (list, tuple)):
        return [plain(inner) for inner in entry]
    return entry
