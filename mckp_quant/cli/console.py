"""Where the command line writes: results on stdout, messages and progress on stderr."""

from __future__ import annotations

import itertools
import json
import logging
import shutil
import sys
import threading
import time
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from ..common.documents import plain
from ..common.shown import shown
from ..report.planned import duration
from ..report.ruled import CUT
from ..report.text import as_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import RenderableType

_COLUMNS, _NARROWEST = 80, 40
LINES_AFTER = (10.0, 20.0, 30.0, 60.0)  # seconds between lines of progress in a log, the last one ever after
PATIENCE = 2.0  # seconds of silence before a progress bar appears


@dataclass(frozen=True)
class Talk:
    """How much a command says while it runs.

    Attributes
    ----------
    quiet
        Whether it says nothing but results, warnings and errors.
    verbose
        Whether it also says what goes on inside.
    no_color
        Whether progress has no colours.
    """

    quiet: bool = False
    verbose: bool = False
    no_color: bool = False


_USUAL = Talk()
_TALK: ContextVar[Talk] = ContextVar("talk", default=_USUAL)


@contextmanager
def talking(talk: Talk) -> Iterator[None]:
    """Say so much while the block runs."""
    before = _TALK.set(talk)
    try:
        with _telling_more() if talk.verbose else nullcontext():
            yield
    finally:
        _TALK.reset(before)


@contextmanager
def _telling_more() -> Iterator[None]:
    """Print what the library logs for whoever wants to know it."""
    logger, handler = logging.getLogger(__package__.partition(".")[0]), logging.StreamHandler(sys.stderr)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)


def show(*parts: RenderableType) -> None:
    """Print a result for people on stdout, within the width of the terminal, or 80 columns where there is none."""
    _write(sys.stdout, as_text(*parts, width=columns()))


def show_text(text: str) -> None:
    """Print a result that is text already on stdout, line by line as it stands."""
    _write(sys.stdout, shown(text, keep="\n") + "\n")


def show_json(document: dict[str, Any]) -> None:
    """Print a result for programs on stdout: one JSON document."""
    _write(sys.stdout, json.dumps(plain(document), indent=1, allow_nan=False) + "\n")


def note(message: str) -> None:
    """Print a message on stderr, unless the user wants none."""
    if not _TALK.get().quiet:
        complain(message)


def complain(message: str) -> None:
    """Print an error on stderr, whatever the user wants."""
    _write(sys.stderr, shown(message, keep="\n") + "\n")


def columns() -> int:
    """How wide a result may be: COLUMNS where it is set, else as the terminal is, else 80."""
    return max(_NARROWEST, shutil.get_terminal_size((_COLUMNS, 1)).columns)


def _write(stream: TextIO, text: str) -> None:
    encoding = stream.encoding or "utf-8"
    if not encoding.casefold().startswith("utf"):
        text = text.replace(CUT, "~")  # as wide, and of every encoding
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()


@contextmanager
def warning_once() -> Iterator[None]:
    """Print each warning of the library once while the block runs: a layer that is rounded anew gives the same again.

    Only where nobody has said where logs go, which is how the command line runs.
    """
    said: set[str] = set()

    def is_new(record: logging.LogRecord) -> bool:
        message = record.getMessage()
        known = message in said
        said.add(message)
        return not known

    handler = logging.lastResort
    if handler is None:
        yield
        return
    handler.addFilter(is_new)
    try:
        yield
    finally:
        handler.removeFilter(is_new)


@contextmanager
def progress(description: str) -> Iterator[Callable[[int, int | None], None]]:
    """Show on stderr how far the block is, if it takes long: a bar on a terminal, else a line now and then.

    Parameters
    ----------
    description
        What is going on.

    Yields
    ------
    report
        To be called with the steps done and the steps in all; until then the bar only shows that time passes.
    """
    talk = _TALK.get()
    if talk.quiet:
        yield lambda done, total: None
        return
    console = Console(file=sys.stderr, no_color=True if talk.no_color else None)  # None: as NO_COLOR says
    if not console.is_terminal:
        with _lines(description) as report:
            yield report
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    bar = Progress(*columns, console=console, transient=True)
    task = bar.add_task(description, total=None)
    # A backend may run for a minute without calling back, so the bar is started by the clock.
    timer = threading.Timer(PATIENCE, bar.start)
    timer.daemon = True
    timer.start()
    try:
        yield lambda done, total: bar.update(task, completed=done, total=total)
    finally:
        timer.cancel()
        timer.join()
        bar.stop()


@contextmanager
def _lines(description: str) -> Iterator[Callable[[int, int | None], None]]:
    """Write a line about the progress now and then, whether or not the work calls back."""
    begun, ended = time.monotonic(), threading.Event()
    state: list[tuple[int, int | None]] = [(0, None)]

    def write() -> None:
        waits = itertools.chain(LINES_AFTER, itertools.repeat(LINES_AFTER[-1]))
        while not ended.wait(next(waits)):
            _write(sys.stderr, progress_line(description, *state[0], time.monotonic() - begun) + "\n")

    writer = threading.Thread(target=write, name="writer", daemon=True)
    writer.start()
    try:
        yield lambda done, total: state.__setitem__(0, (done, total))
    finally:
        ended.set()
        writer.join()


def progress_line(description: str, done: int, total: int | None, seconds: float) -> str:
    """How far something is, as a line of a log.

    Parameters
    ----------
    description
        What is going on.
    done, total
        The steps that are done, and those in all.
    seconds
        How long it has taken.

    Returns
    -------
    line
        With the time left, where that can be said.
    """
    words = f"{description}: {duration(seconds)} so far"
    if total is None or done <= 0:
        return words
    return f"{words}, {done} of {total} steps, about {duration(seconds * (total - done) / done)} left"
