"""What is kept of a run in its folder: each step's files, and a digest of all that they depend on."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ..common.documents import plain, read_document, write_document
from ..errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

KIND, VERSION = "step", 1
_DOCUMENT = "step.json"
_HASHED = 2**26  # bytes; of larger files the size is compared, and readers check their contents
_LONG = 120  # characters that words may have
_DIGEST = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Kept:
    """A step whose result is there.

    Attributes
    ----------
    decided
        What it decided, a line.
    seconds
        What it cost when it was made.
    made
        When that was, in UTC.
    files
        From its files to their digests.
    """

    decided: str
    seconds: float
    made: str
    files: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True)
class State:
    """The results of steps in a folder, each in a folder of its own with a document that says what it belongs to.

    Attributes
    ----------
    folder
        The folder of the run.
    """

    folder: Path

    def place(self, step: str) -> Path:
        """Where the files of a step are."""
        return self.folder / step

    def kept(self, step: str, depends: Mapping[str, Any]) -> tuple[Kept | None, str]:
        """Find the result of a step.

        Parameters
        ----------
        step
            Its name.
        depends
            All that it depends on, in plain types.

        Returns
        -------
        kept, why
            What is there, where it fits and is whole. Else None, and why it has to be made again, in words: empty where
            nothing is there, or it was not finished.
        """
        try:
            document = self._document(step)
        except InvalidInput as error:
            return None, str(error)
        if document is None:
            return None, ""
        changed = difference(document.get("depends", {}), depends)
        if changed:
            return None, changed
        if not document.get("finished"):
            return None, ""
        files = document.get("files", {})
        odd = next((name for name, digest in files.items() if _digest(self.place(step) / name) != digest), None)
        if odd is not None:
            return None, f"its file {odd!r} is missing or was changed"
        return Kept(document["decided"], document["seconds"], document["made"], files), ""

    def begin(self, step: str, depends: Mapping[str, Any]) -> Path:
        """Give the folder in which a step is made: with what is left of the same step, if it was not finished.

        Parameters
        ----------
        step
            Its name.
        depends
            All that it depends on.

        Returns
        -------
        folder
            Where to write.

        Raises
        ------
        InvalidInput
            When the folder holds anything but a step.
        """
        place = self.place(step)
        try:
            document = self._document(step)
        except InvalidInput:
            document = {}  # a step whose document is damaged
        if document is None and place.exists() and (not place.is_dir() or any(place.iterdir())):
            raise InvalidInput(
                f"{os.fspath(place)!r} holds something else than the results of a run: name another folder"
            )
        if document is not None and (document.get("finished") or difference(document.get("depends", {}), depends)):
            shutil.rmtree(place)
        write_document(place / _DOCUMENT, KIND, VERSION, {"finished": False, "depends": dict(depends)})
        return place

    def finish(self, step: str, depends: Mapping[str, Any], decided: str, seconds: float) -> Kept:
        """Write down that a step is finished, with the digests of its files."""
        place = self.place(step)
        found = sorted(each for each in place.rglob("*") if each.is_file() and each != place / _DOCUMENT)
        files = {each.relative_to(place).as_posix(): _digest(each) for each in found}
        kept = Kept(decided, seconds, datetime.now(UTC).isoformat(timespec="seconds"), files)
        document = {
            "finished": True,
            "decided": decided,
            "seconds": seconds,
            "made": kept.made,
            "depends": dict(depends),
            "files": files,
        }
        write_document(place / _DOCUMENT, KIND, VERSION, document)
        return kept

    def clear(self, step: str) -> None:
        """Delete what is kept of a step; what is no step's stays."""
        if (self.place(step) / _DOCUMENT).is_file():
            shutil.rmtree(self.place(step))

    def _document(self, step: str) -> dict[str, Any] | None:
        path = self.place(step) / _DOCUMENT
        return read_document(path, KIND, VERSION) if path.exists() else None


def depends_digest(depends: Mapping[str, Any]) -> str:
    """Forty hexadecimal digits that change with anything that a step depends on."""
    return hashlib.sha256(json.dumps(plain(dict(depends)), sort_keys=True).encode()).hexdigest()[:40]


def difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The first entry that differs, in words; empty where none does."""
    then, today = dict(_leaves(plain(dict(before)))), dict(_leaves(plain(dict(now))))
    name = next((each for each in {**then, **today} if then.get(each) != today.get(each)), None)
    if name is None:
        return ""
    said = f"{name} was {then.get(name)}, and is {today.get(name)}"
    hidden = len(said) > _LONG or any(_DIGEST.fullmatch(str(each.get(name))) for each in (then, today))
    return f"{name} differs" if hidden else said


def _leaves(document: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of a document of mappings, by its path."""
    if not isinstance(document, dict) or not document:
        yield name, document
        return
    for key, entry in document.items():
        yield from _leaves(entry, f"{name}.{key}" if name else str(key))


def _digest(path: Path) -> str:
    if not path.is_file():
        return ""
    size = path.stat().st_size
    if size > _HASHED:
        return f"{size} bytes"
    return hashlib.sha256(path.read_bytes()).hexdigest()
