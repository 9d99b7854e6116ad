"""Where the command line writes: results on stdout, messages and progress on stderr."""

from __future__ import annotations

import json
import logging
import shutil
import sys
import threading
from contextlib import contextmanager
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
from ..report.ruled import CUT
from ..report.text import as_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import RenderableType

_COLUMNS, _NARROWEST = 80, 40
PATIENCE = 2.0  # seconds of silence before a progress bar appears


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
    """Print a message on stderr."""
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
    """Show a progress bar on stderr while the block runs, if that takes long and stderr is a terminal.

    Parameters
    ----------
    description
        What is going on.

    Yields
    ------
    report
        To be called with the steps done and the steps in all; until then the bar only shows that time passes.
    """
    console = Console(file=sys.stderr)
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
    if not console.is_terminal:
        yield lambda done, total: None
        return
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
