"""Keeps Ctrl-C working during calls into compiled code, and such code from writing to the standard output."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import threading
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Result = TypeVar("Result")

_GRACE = 5.0  # seconds that a backend has to come to an end once it was told to
_POLL = 0.2  # seconds; waiting without a limit cannot be interrupted on every system
_redirection = threading.Lock()


def interruptible(call: Callable[[], Result], stop: Callable[[], None] | None = None) -> tuple[Result, bool]:
    """Run a long call so that Ctrl-C is heard while it runs.

    Python hears signals in its main thread, and only between its own instructions: a solver that computes there for a
    minute makes the user wait for a minute. So the call runs in a thread of its own while the main thread waits.

    Parameters
    ----------
    call
        Computes outside the interpreter's lock.
    stop
        Tells it from another thread to come to an end; None where there is no way. Such a call is left behind on
        Ctrl-C: it goes on in its thread up to its own limit, and nobody waits for it.

    Returns
    -------
    result
        What the call returned.
    interrupted
        Whether it was stopped by the user.

    Raises
    ------
    KeyboardInterrupt
        When it cannot be stopped.
    """
    if threading.current_thread() is not threading.main_thread():
        return call(), False
    results: list[Result] = []
    errors: list[BaseException] = []
    done = threading.Event()  # an interrupted `Thread.join` may take a running thread for one that has ended

    def run() -> None:
        try:
            results.append(call())
        except BaseException as error:  # noqa: BLE001 - raised again below, in the thread of the caller
            errors.append(error)
        finally:
            done.set()

    threading.Thread(target=run, daemon=True).start()
    interrupted = False
    try:
        while not done.wait(_POLL):
            pass
    except KeyboardInterrupt:
        if stop is None:
            raise
        interrupted = True
        stop()
        if not done.wait(_GRACE):
            raise
    if errors:
        raise errors[0]
    return results[0], interrupted


@contextlib.contextmanager
def output_to_errors() -> Iterator[None]:
    """Send what compiled code prints to the standard error while the context lasts.

    HiGHS now and then writes a line to file descriptor 1, past `sys.stdout` and however quiet it is told to be; the
    line would end up in a document that the caller prints. The descriptor belongs to the whole process, so it is left
    alone while other threads run: their output must not go astray.
    """
    if threading.active_count() > 1 or not _redirection.acquire(blocking=False):
        yield
        return
    try:
        try:
            sys.stdout.flush()
            saved = os.dup(1)
        except (OSError, ValueError, AttributeError):  # closed, or none at all
            yield
            return
        try:
            os.dup2(2, 1)
            yield
        finally:
            _flush_compiled()
            os.dup2(saved, 1)
            os.close(saved)
    finally:
        _redirection.release()


def _flush_compiled() -> None:
    """Write out what compiled code has buffered, as long as it goes where it should."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).fflush(None)
