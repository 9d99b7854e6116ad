"""Writes files whole or not at all, and clears away what killed runs have left; devices and pipes are written to."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import platform
import re
import secrets
import shutil
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator

_TEMPORARY = re.compile(r"\.mckp-quant-([0-9a-f]{8})-(\d+)-[0-9a-f]{16}\.tmp")
_OLD = 7 * 24 * 3600  # seconds after which nothing is still being written, whoever began it
_STREAMS = ("/dev/stdin", "/dev/stdout", "/dev/stderr")  # links to what is open already
_OPEN = ("/dev/fd/", "/proc/")


@contextlib.contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a file to be written whole or not at all: a temporary file beside it, then a rename.

    A link stays, and what it points to is replaced; an existing file keeps its mode, a new one gets that of any new
    file. Devices and pipes are written to as they are. What killed runs left in the folder is removed.

    Parameters
    ----------
    path
        Where to write; folders that are missing are made.

    Yields
    ------
    file
        To be written to; what was there is replaced when the block ends.

    Raises
    ------
    OSError
        With the file's name and why it cannot be written; nothing is changed then.
    """
    try:
        mode = _mode(path)
        if mode is not None and stat.S_ISDIR(mode):
            raise OSError(errno.EISDIR, "it is a folder")
        if _is_open_already(path) or not (mode is None or stat.S_ISREG(mode)):
            with open(_through(path), "wb") as file:
                yield file
            return
        if mode is not None and not os.access(path, os.W_OK):
            raise OSError(errno.EACCES, "it is write-protected")
        target = Path(os.path.realpath(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        clear(target.parent)
        with _replacing(target, mode) as file:
            yield file
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(error.errno or errno.EIO, f"cannot write {os.fspath(path)!r}: {reason}") from error


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file as `writing` does."""
    with writing(path) as file:
        file.write(content)


@contextlib.contextmanager
def temporary_folder(parent: str | os.PathLike[str]) -> Iterator[Path]:
    """Provide an empty folder that is gone afterwards; those of killed runs in the same place are removed.

    Parameters
    ----------
    parent
        Where to make it; this folder must exist.

    Yields
    ------
    folder
        The folder, which only its owner may read.
    """
    clear(parent)
    folder = Path(parent) / _name()
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def clear(folder: str | os.PathLike[str]) -> None:
    """Remove temporary files and folders of this kind whose process is gone, or that are old; only the user's own."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            match = _TEMPORARY.fullmatch(entry.name)
            if match is not None and _is_left_over(entry, match[1], int(match[2])):
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path, ignore_errors=True)
                else:
                    with contextlib.suppress(OSError):
                        os.unlink(entry.path)


def _is_left_over(entry: os.DirEntry[str], place: str, process: int) -> bool:
    try:
        about = entry.stat(follow_symlinks=False)
    except OSError:
        return False
    if os.name == "posix" and about.st_uid != os.geteuid():
        return False
    if time.time() - about.st_mtime > _OLD:
        return True
    return os.name == "posix" and place == _place() and not _runs(process)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def _name() -> str:
    return f".mckp-quant-{_place()}-{os.getpid()}-{secrets.token_hex(8)}.tmp"


def _place() -> str:
    """Stands for where the number of a process means something: the machine, and the container."""
    try:
        container = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        container = 0
    return hashlib.sha256(f"{platform.node()}/{container}".encode()).hexdigest()[:8]


def _mode(path: str | os.PathLike[str]) -> int | None:
    try:
        return os.stat(path).st_mode
    except FileNotFoundError:
        return None


def _is_open_already(path: str | os.PathLike[str]) -> bool:
    whole = os.path.abspath(path)
    return os.name == "posix" and (whole in _STREAMS or whole.startswith(_OPEN))


def _through(path: str | os.PathLike[str]) -> int:
    """Open a device or a pipe as it is; a pipe that nothing reads would be waited for without an end."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0))
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        raise OSError(errno.ENXIO, "it is a pipe that nothing reads; start what reads it first") from error
    os.set_blocking(handle, True)
    return handle


@contextlib.contextmanager
def _replacing(target: Path, mode: int | None) -> Iterator[BinaryIO]:
    temporary = target.parent / _name()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    handle = os.open(temporary, flags, 0o666 if mode is None else stat.S_IMODE(mode) & 0o777)
    try:
        with open(handle, "wb") as file:
            yield file
        if mode is not None:
            temporary.chmod(stat.S_IMODE(mode))
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
