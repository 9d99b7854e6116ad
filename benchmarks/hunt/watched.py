"""Reads a file under watch: how long it takes, how much memory, and what gets out of it."""

from __future__ import annotations

import contextlib
import logging
import resource
import signal
import time
import warnings
from typing import TYPE_CHECKING

from mckp_quant import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .files.kind import Kind

SECONDS = 5.0  # of CPU, which what else runs on a machine does not change
BYTES = 500 * 2**20
TAKEN, REFUSED = "taken", "refused"


class Hang(BaseException):
    """Reading took longer than it may; no reader catches this."""


@contextlib.contextmanager
def watching() -> Iterator[None]:
    """Be quiet, and let `outcome` stop what takes too long; only in the main thread."""
    before = signal.signal(signal.SIGPROF, _stop)
    logging.disable()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
        signal.signal(signal.SIGPROF, before)


def _stop(number: int, frame: object) -> None:
    raise Hang


def outcome(kind: Kind, folder: Path, content: bytes) -> str:
    """Read a file that holds something else than it did.

    Parameters
    ----------
    kind
        The file.
    folder
        Where it lies.
    content
        What it holds now; afterwards it is again as it was.

    Returns
    -------
    outcome
        ``"taken"``, ``"refused"`` where an InvalidInput names it, or the fault in words.
    """
    path = folder / kind.name
    path.write_bytes(content)
    memory, began = _most(), time.process_time()
    found = TAKEN
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        kind.read(path)
    except InvalidInput as error:
        text = str(error)
        found = REFUSED if path.name in text or path.parent.name in text else f"no name in: {text[:160]}"
        if _holds(error, MemoryError):
            found = "more memory than there is"
    except Hang:
        found = "hangs"
    except Exception as error:  # noqa: BLE001  what is hunted
        found = f"{type(error).__name__}: {str(error)[:120]}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        path.write_bytes(kind.content)
    if time.process_time() - began > SECONDS:
        found = "hangs"
    if _most() - memory > BYTES:
        found = f"takes {(_most() - memory) >> 20} MB"
    return found


def _most() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _holds(error: BaseException | None, kind: type[BaseException]) -> bool:
    while error is not None:
        if isinstance(error, kind):
            return True
        error = error.__cause__
    return False
