"""Keeps Ctrl-C and the clock working during calls into compiled code, and such code from printing."""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Result = TypeVar("Result")

_GRACE = 0.4  # seconds that a backend has to come to an end once the user told it to
_LATE = 0.05  # seconds past the deadline, and share of the time, after which a backend that keeps its own is told to
_TOO_LATE = 0.1  # seconds that it has then: a result that comes later is not waited for
_AGAIN = 0.05  # seconds after which a call that was told to stop is told again
_POLL = 0.2  # seconds; waiting without a limit cannot be interrupted on every system
_redirection = threading.Lock()


class OutOfTime(Exception):
    """A call did not come to an end in time."""


def interruptible(
    call: Callable[[], Result], stop: Callable[[], None] | None = None, *, deadline: float = math.inf
) -> tuple[Result, bool]:
    """Run a long call so that Ctrl-C and a deadline are heard while it runs.

    Python hears signals in its main thread, and only between its own instructions: a solver that computes there for a
    minute makes the user wait for a minute. So the call runs in a thread of its own while the main thread waits. The
    same thread is waited for no longer than the deadline: backends look at their clock now and then only.

    Parameters
    ----------
    call
        Computes outside the interpreter's lock.
    stop
        Tells it from another thread to come to an end; None where there is no way. Such a call is left behind on
        Ctrl-C and after the deadline: it goes on in its thread up to its own limit, and nobody waits for it.
    deadline
        `time.perf_counter` reading that the call itself was told to keep. It is stopped soon after it.

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
    OutOfTime
        When it goes on after the deadline and cannot be stopped.
    """
    if threading.current_thread() is not threading.main_thread() and deadline == math.inf:
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

    thread = threading.Thread(target=run, daemon=True)
    interrupted = False
    try:
        thread.start()
        late = deadline + _LATE * (1 + max(deadline - time.perf_counter(), 0.0))
        if not _waited(done, late) and not _told(stop, done, _TOO_LATE):
            raise OutOfTime("a backend goes on after its time limit")
    except KeyboardInterrupt:
        if stop is None:
            raise
        interrupted = True
        if not _told(stop, done, _GRACE):
            raise
    if errors:
        raise errors[0]
    return results[0], interrupted


def _told(stop: Callable[[], None] | None, done: threading.Event, seconds: float) -> bool:
    """Tell a call to stop, again and again, since one that has not begun does not hear it; whether it ended in time."""
    until = time.perf_counter() + seconds
    while True:
        if stop is not None:
            stop()
        if done.wait(min(_AGAIN, max(until - time.perf_counter(), 0.0))):
            return True
        if time.perf_counter() >= until:
            return False


def _waited(done: threading.Event, until: float) -> bool:
    """Whether something was done by then."""
    while not done.wait(min(_POLL, max(until - time.perf_counter(), 0.0))):
        if time.perf_counter() >= until:
            return False
    return True


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Discard what compiled code prints while the context lasts.

    HiGHS now and then writes a line to file descriptor 1, past `sys.stdout` and however quiet it is told to be; the
    line would end up in a document that the caller prints. SoPlex within SCIP writes hundreds of them to descriptor 2.
    The descriptors belong to the whole process, so they are left alone while other threads run: their output must not
    go astray.
    """
    if threading.active_count() > 1 or not _redirection.acquire(blocking=False):
        yield
        return
    saved: dict[int, int] = {}
    try:
        for descriptor, stream in ((1, sys.stdout), (2, sys.stderr)):
            with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, or none at all
                stream.flush()
                saved[descriptor] = os.dup(descriptor)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for descriptor in saved:
            os.dup2(nowhere, descriptor)
        os.close(nowhere)
        yield
    finally:
        _flush_compiled()
        for descriptor, copy in saved.items():
            os.dup2(copy, descriptor)
            os.close(copy)
        _redirection.release()


def _flush_compiled() -> None:
    """Write out what compiled code has buffered, as long as it goes where it should."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).fflush(None)
