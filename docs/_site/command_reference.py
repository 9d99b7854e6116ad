"""The page of the command line: what each command prints under ``--help``."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from typer.main import get_command
from typer.testing import CliRunner

from mckp_quant.cli.entry import application

if TYPE_CHECKING:
    from sphinx.application import Sphinx

PAGE = "reference/command_line.rst"
TITLE = "The command line"
INTRODUCTION = """
Results go to stdout, messages to stderr. Exit codes: 0 done, 1 no solution or a check failed, 2 the input is wrong, 130
interrupted, 143 terminated. This page holds what ``mckp-quant COMMAND --help`` prints.
"""
WIDTH = 72  # characters a line of help, which a page shows without scrolling


def write_page(app: Sphinx) -> None:
    """Write the page, unless it says that already."""
    commands = sorted(get_command(application).commands)  # type: ignore[attr-defined]
    text = "\n".join([TITLE, "=" * len(TITLE), INTRODUCTION, *(_section(name) for name in commands)])
    path = Path(app.srcdir, PAGE)
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def _section(command: str) -> str:
    # Where the screen is narrower than that, help would be wrapped for it.
    shown = CliRunner().invoke(application, [command, "--help"], env={"COLUMNS": str(WIDTH)}, terminal_width=WIDTH)
    if shown.exit_code:
        raise RuntimeError(f"mckp-quant {command} --help ended with {shown.exit_code}: {shown.output}")
    return "\n".join(
        [command, "-" * len(command), "", ".. code-block:: text", "", textwrap.indent(shown.output, "   ")]
    )


def setup(app: Sphinx) -> dict[str, bool]:
    """Write the page before pages are read."""
    app.connect("builder-inited", write_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
