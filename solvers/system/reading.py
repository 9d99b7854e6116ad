"""Reads files that may hold anything: what cannot be used is one kind of error that names file, place and cure."""

from __future__ import annotations

import codecs
import contextlib
import difflib
import io
import json
import os
import re
import stat
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MOST_BYTES = 2**30  # of a file that is read whole
MOST_LEVELS = 64  # lists and objects within each other
MOST_DIGITS = 308  # of a whole number: with these it is still a float
_PIECE = 2**16
_LONG = re.compile(rf"\d{{{MOST_DIGITS + 1}}}")
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_FOREIGN = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


class _Odd(ValueError):
    """JSON that is whole but is refused; `token` is what to seek in the text to say where."""

    def __init__(self, words: str, token: str = "") -> None:
        super().__init__(words)
        self.token = token


@contextlib.contextmanager
def opened(path: str | os.PathLike[str], what: str, error: type[Exception]) -> Iterator[BinaryIO]:
    """Open a file in which one can seek, or a pipe that something writes to, which is read whole.

    Parameters
    ----------
    path
        The file.
    what
        What it is thought to be, such as ``"table"``, for the error.
    error
        The kind of error to raise.

    Yields
    ------
    file
        Its bytes.

    Raises
    ------
    Exception
        Of the kind `error`, when there is no such file, it may not be read, or it is a folder, a device, or a pipe
        that nothing writes to.
    """
    failed = f"cannot read the {what} {os.fspath(path)!r}"
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)  # a pipe must not be waited for
    try:
        handle = os.open(path, flags)
    except ValueError as cause:
        raise error(f"{failed}: a name cannot hold a null character") from cause
    except OSError as cause:
        raise error(f"{failed}: {cause}{_near(path) if isinstance(cause, FileNotFoundError) else ''}") from cause
    mode = os.fstat(handle).st_mode
    if stat.S_ISDIR(mode):
        os.close(handle)
        raise error(f"{failed}: it is a folder, name a file")
    with open(handle, "rb") as file:
        if stat.S_ISFIFO(mode):
            content = _from_pipe(handle)
            if content is None:
                raise error(f"{failed}: it is a pipe that nothing writes to; start what writes first, or name a file")
            yield io.BytesIO(content)
        elif stat.S_ISREG(mode):
            yield file
        else:
            raise error(f"{failed}: it is a device, name a file")


def _near(path: str | os.PathLike[str]) -> str:
    """The file of the same folder that may have been meant, as a question; else what to do."""
    folder, name = os.path.split(os.fsdecode(path))
    try:
        there = [each.name for each in os.scandir(folder or ".") if each.is_file()]
    except OSError:
        return f"; there is no folder {folder!r}"
    near = difflib.get_close_matches(name, there, n=1, cutoff=0.75)
    return f"; did you mean {os.path.join(folder, near[0])!r}?" if near else "; name a file that is there"


def _from_pipe(handle: int) -> bytes | None:
    try:
        piece = os.read(handle, _PIECE)
        if not piece:
            return None
    except BlockingIOError:  # something writes, but has not begun
        piece = b""
    os.set_blocking(handle, True)
    pieces = [piece]
    size = len(piece)
    while size <= MOST_BYTES and (piece := os.read(handle, _PIECE)):
        pieces.append(piece)
        size += len(piece)
    return b"".join(pieces)


def read_bytes(path: str | os.PathLike[str], what: str, error: type[Exception]) -> bytes:
    """The content of a file, up to `MOST_BYTES`; parameters and errors are those of `opened`."""
    with opened(path, what, error) as file:
        size = file.seek(0, os.SEEK_END)
        if size > MOST_BYTES:
            raise error(
                f"cannot read the {what} {os.fspath(path)!r}: it has {size:,} bytes, and no {what} has more than "
                f"{MOST_BYTES:,}; it is something else"
            )
        file.seek(0)
        try:
            return file.read()
        except OSError as cause:
            raise error(f"cannot read the {what} {os.fspath(path)!r}: {cause}") from cause


def read_text(path: str | os.PathLike[str], what: str, error: type[Exception]) -> str:
    """The text of a file in UTF-8, with or without a mark of byte order; line ends stay as they are.

    Parameters and errors are those of `opened`; text in another encoding is refused too.
    """
    content = read_bytes(path, what, error)
    failed = f"cannot read the {what} {os.fspath(path)!r}"
    for mark, name in _FOREIGN.items():
        if content.startswith(mark):
            raise error(f"{failed}: it begins like text in {name}; save it as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as cause:
        raise error(f"{failed}: {cause}; save it as UTF-8, if it is text") from cause


def read_json(
    path: str | os.PathLike[str],
    what: str,
    error: type[Exception],
    parse_number: Callable[[str], Any] | None = None,
) -> Any:
    """The document of a JSON file.

    Parameters
    ----------
    path, what, error
        As for `opened`.
    parse_number
        What makes numbers with a point, nan and infinities; by default float.

    Returns
    -------
    document
        In plain types.

    Raises
    ------
    Exception
        Of the kind `error`, when the file cannot be read, is no whole JSON, is nested too deep, names an entry of an
        object twice, or holds numbers or text that no program writes.
    """
    return parse_json(read_text(path, what, error), repr(os.fspath(path)), what, error, parse_number)


def parse_json(
    text: str, source: str, what: str, error: type[Exception], parse_number: Callable[[str], Any] | None = None
) -> Any:
    """The document of a JSON text; `source` says for errors where it stands, the others are those of `read_json`."""
    whole = _whole if _LONG.search(text) else None  # a call for each number takes time
    try:
        document = json.loads(
            text, object_pairs_hook=_object, parse_int=whole, parse_float=parse_number, parse_constant=parse_number
        )
        check_plain(document, text=_SURROGATE.search(text) is not None)
    except json.JSONDecodeError as cause:
        raise error(
            f"{source} is not whole JSON (line {cause.lineno}, column {cause.colno}: {cause.msg}): it was cut off or "
            f"is something else; make the {what} again"
        ) from cause
    except (_Odd, RecursionError) as cause:
        odd = cause if isinstance(cause, _Odd) else _Odd(f"it is nested more than {MOST_LEVELS} deep")
        line = f", line {text.count(chr(10), 0, text.find(odd.token)) + 1}" if odd.token else ""
        raise error(f"{source}{line} cannot be read: {odd}; it is no {what}, or was edited by hand") from cause
    return document


def check_plain(document: object, *, text: bool = True) -> None:
    """Refuse documents that are nested too deep, hold too long numbers or, if asked, text that cannot be written.

    Parameters
    ----------
    document
        Of lists, dicts and plain entries.
    text
        Whether to look at the text too.

    Raises
    ------
    ValueError
        With what was found.
    """
    level: list[Any] = [[document]]
    for _ in range(MOST_LEVELS + 1):
        inner: list[Any] = []
        for holder in level:
            entries = holder.values() if isinstance(holder, dict) else holder
            if text:
                for entry in (*holder, *entries):
                    if isinstance(entry, str) and not _can_be_written(entry):
                        raise _Odd(f"{entry!r} holds half a character")
            inner.extend(entry for entry in entries if type(entry) in (list, dict))
        if not inner:
            return
        level = inner
    raise _Odd(f"it is nested more than {MOST_LEVELS} deep")


def _can_be_written(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for at, name in enumerate(names) if name in names[:at])
        raise _Odd(f"{twice!r} stands twice in one object", json.dumps(twice))
    return found


def _whole(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise _Odd(f"a number has {len(digits)} digits", digits)
    return int(digits)
