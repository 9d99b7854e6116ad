"""Where the command line writes: results on stdout, messages and progress on stderr."""

from __future__ import annotations

import json
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from ..files import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import RenderableType

PATIENCE = 2.0  # seconds of silence before a progress bar appears
WIDE = 240  # columns where the output is no terminal: a file should not be wrapped


def show(*parts: RenderableType) -> None:
    """Print a result for people on stdout."""
    console = Console(file=sys.stdout, highlight=False)
    if not console.is_terminal:
        console.width = WIDE
    for part in parts:
        console.print(part)


def show_json(document: dict[str, Any]) -> None:
    """Print a result for programs on stdout: one JSON document."""
    sys.stdout.write(json.dumps(plain(document), indent=1, allow_nan=False) + "\n")


def note(message: str) -> None:
    """Print a message on stderr."""
    sys.stderr.write(message + "\n")


@contextmanager
def progress(description: str) -> Iterator[Callable[[int, int], None]]:
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
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
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
