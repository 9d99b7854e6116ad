"""Results files, and the pages of docs that show what they hold."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mckp_quant.bench.tabular import append_rows, read_rows, table
from mckp_quant.common.files import write_text

from .command_line import WrongInput

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DOCS", "RESULTS", "ROOT", "append_rows", "fill", "markers", "read_rows", "replaced", "table"]

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
DOCS = ROOT / "docs"


def replaced(text: str, name: str, part: str) -> str | None:
    """The text with what stands between the markers of that name replaced; None where it has no such markers."""
    start, end = markers(name)
    head, found, rest = text.partition(start)
    if not found or end not in rest:
        return None
    inside = part.strip("\n")  # a first line that is indented stays so
    return f"{head}{start}\n\n{inside}\n\n{end}{rest.partition(end)[2]}"


def markers(name: str) -> tuple[str, str]:
    """The comments between which a part of a page is written."""
    return f"<!-- {name}: begin -->", f"<!-- {name}: end -->"


def fill(page: Path, parts: Mapping[str, str]) -> None:
    """Write each part between the markers of its name; the rest of the page stays."""
    text = page.read_text(encoding="utf-8")
    for name, part in parts.items():
        found = replaced(text, name, part)
        if found is None:
            raise WrongInput(f"{page}: the page has no part between {' and '.join(markers(name))}")
        text = found
    write_text(page, text)
