"""Opens what a user names, to read or to write; what cannot be read, or makes no sense, is an InvalidInput."""

from __future__ import annotations

import contextlib
import io
import os
import tomllib
from typing import TYPE_CHECKING, Any, BinaryIO

from ..errors import InvalidInput
from ..solvers.system import reading
from ..solvers.system.writing import temporary_folder, write_bytes, writing
from .packages import PackageMissing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

__all__ = [
    "check_regular",
    "opened",
    "parse_json",
    "read_json",
    "read_text",
    "read_toml",
    "readable",
    "temporary_folder",
    "write_bytes",
    "write_text",
    "writing",
]

_SHOWN = 300  # characters of what went wrong: libraries quote whole files


def opened(path: str | os.PathLike[str], what: str) -> AbstractContextManager[BinaryIO]:
    """A file in which one can seek, as the solvers' `opened` gives it; `what` is its kind, for the InvalidInput."""
    return reading.opened(path, what, InvalidInput)


def check_regular(path: str | os.PathLike[str], what: str) -> None:
    """Refuse what a library would wait for or fill the memory with: pipes, devices, folders; raises InvalidInput."""
    with opened(path, what) as file:
        if isinstance(file, io.BytesIO):
            raise InvalidInput(f"cannot read the {what} {os.fspath(path)!r}: it is a pipe, name a file")


def read_text(path: str | os.PathLike[str], what: str) -> str:
    """The text of a file in UTF-8; raises InvalidInput where there is none, see `solvers.system.reading.read_text`."""
    return reading.read_text(path, what, InvalidInput)


def read_json(path: str | os.PathLike[str], what: str, parse_number: Callable[[str], Any] | None = None) -> Any:
    """The document of a JSON file; raises InvalidInput where there is none, see `solvers.system.reading.read_json`."""
    return reading.read_json(path, what, InvalidInput, parse_number)


def parse_json(text: str, source: str, what: str) -> Any:
    """The document of a JSON text; raises InvalidInput where it is none, see `solvers.system.reading.parse_json`."""
    return reading.parse_json(text, source, what, InvalidInput)


def read_toml(path: str | os.PathLike[str], what: str) -> dict[str, Any]:
    """The document of a TOML file; raises InvalidInput where there is none."""
    text = read_text(path, what)
    try:
        document = tomllib.loads(text)
        reading.check_plain(document)
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput(f"the {what} {os.fspath(path)!r} is no TOML: {error}") from error
    except (ValueError, RecursionError) as error:  # such as a number of 5,000 digits
        raise InvalidInput(f"the {what} {os.fspath(path)!r} is no TOML that can be read: {error}") from error
    return document


@contextlib.contextmanager
def readable(source: str) -> Iterator[None]:
    """Turn whatever a damaged file makes fail into an InvalidInput that names the file.

    Foreign content can make a reader fail in any way, and a list of the ways is never whole: so this takes every error,
    and is to be put around reading alone. The first error stays attached.

    Parameters
    ----------
    source
        The file, such as ``"the policy 'p.json'"``.

    Yields
    ------
    nothing
        Read the file in the block.

    Raises
    ------
    InvalidInput
        When anything is raised in the block, besides a missing package.
    """
    try:
        yield
    except PackageMissing:
        raise
    except InvalidInput as error:
        if source in str(error) or f"{source.removesuffix(chr(39))}{os.sep}" in str(
            error
        ):  # the folder, or what is in it
            raise
        raise InvalidInput(f"{source} does not fit together: {error}") from error
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
        reason = reason if len(reason) <= _SHOWN else f"{reason[:_SHOWN]} ..."
        raise InvalidInput(
            f"{source} cannot be read ({reason}): it is damaged, was edited by hand or is something else; make it again"
        ) from error


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a file in UTF-8, whole or not at all, as `solvers.system.writing.writing` does.

    Parameters
    ----------
    path
        Where to write; folders that are missing are made.
    text
        What to write.

    Raises
    ------
    InvalidInput
        When the text holds half a character, which UTF-8 cannot say.
    OSError
        When the file cannot be written, with its name.
    """
    try:
        content = text.encode("utf-8")
    except UnicodeEncodeError as error:
        near = text[max(error.start - 20, 0) : error.end + 20]
        raise InvalidInput(
            f"cannot write {os.fspath(path)!r}: {near!r} holds half a character (a surrogate): rename what is called so"
        ) from error
    write_bytes(path, content)
