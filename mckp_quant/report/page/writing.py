"""Writes a report into a file, in the form that its name ends in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...common.files import write_text
from ...errors import unknown
from .html_form import as_html
from .plain_forms import as_json, as_markdown, as_plain_text

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from .data import ReportData

FORMS: dict[str, Callable[[ReportData], str]] = {
    ".html": as_html,
    ".md": as_markdown,
    ".txt": as_plain_text,
    ".json": as_json,
}


def check_form(path: str | os.PathLike[str]) -> str:
    """The form of a report by the end of its name, such as ``".html"``; raises InvalidInput for others."""
    kind = Path(path).suffix.casefold()
    if kind not in FORMS:
        raise unknown("form of report", kind or str(path), FORMS)
    return kind


def write_report(data: ReportData, path: str | os.PathLike[str]) -> None:
    """Write a report, whole or not at all.

    Parameters
    ----------
    data
        What it shows, as `report_data` gathers it.
    path
        Where to write: .html, .md, .txt or .json.

    Raises
    ------
    InvalidInput
        When the name ends in something else.
    """
    write_text(path, FORMS[check_form(path)](data))
