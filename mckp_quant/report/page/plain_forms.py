"""The report as text for a terminal, as Markdown, and as JSON."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from rich.text import Text

from ...common.documents import PREFIX
from ...common.shown import shown
from ..text import BLANK, WIDTH, as_text, table_of
from .data import KIND, VERSION
from .sections import sections_of, title_of

if TYPE_CHECKING:
    from .data import ReportData
    from .sections import Grid, Section

_MARKS = re.compile(r"([\\`*_\[\]<>|~#&$])")
_LINES = "\n"


def as_json(data: ReportData) -> str:
    """The report as one JSON document."""
    return json.dumps(report_document(data), indent=1, allow_nan=False) + "\n"


def report_document(data: ReportData) -> dict[str, Any]:
    """The report in plain types, with its schema."""
    return {"schema": f"{PREFIX}/{KIND}/{VERSION}", **data.document()}


def as_plain_text(data: ReportData, width: int = WIDTH) -> str:
    """The report as text, within a width."""
    parts: list[Any] = [Text(title_of(data))]
    for section in sections_of(data):
        parts += [BLANK, Text(section.title.upper())]
        parts += [Text(each) for each in section.words]
        parts += [Text(f"- {shown(each)}") for each in section.items]
        for grid in section.grids:
            parts += [BLANK, table_of(grid.headings, grid.rows, left=grid.left)]
        if section.text:
            parts += [BLANK, Text(shown(section.text, keep="\n"))]
    return as_text(*parts, width=width)


def as_markdown(data: ReportData) -> str:
    """The report as Markdown, in the dialect of GitHub."""
    parts = [f"# {marked(title_of(data))}"]
    for section in sections_of(data):
        parts += _section(section)
    return "\n\n".join(parts) + "\n"


def marked(text: str) -> str:
    """Text of one line in which Markdown and HTML find nothing to read."""
    return _MARKS.sub(r"\\\1", shown(text))


def _section(section: Section) -> list[str]:
    parts = [f"## {marked(section.title)}", *map(marked, section.words)]
    if section.items:
        parts.append("\n".join(f"- {marked(each)}" for each in section.items))
    parts += map(_grid, section.grids)
    if section.text:
        # Indented, not fenced: no line of it can end the block.
        parts.append("\n".join(f"    {line}" for line in shown(section.text, keep=_LINES).split("\n")))
    return parts


def _grid(grid: Grid) -> str:
    rules = ["---" if column < grid.left else "---:" for column in range(len(grid.headings))]
    rows = [[marked(each) or " " for each in row] for row in (grid.headings, *grid.rows)]
    lines = [f"| {' | '.join(row)} |" for row in (rows[0], rules, *rows[1:])]
    return f"{marked(grid.caption)}:\n\n" + "\n".join(lines)
