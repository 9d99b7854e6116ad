"""Results files, and the pages of docs that show what they hold."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

from mckp_quant.common.files import write_text

from .command_line import WrongInput

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
DOCS = ROOT / "docs"


def read_rows(path: Path) -> list[dict[str, str]]:
    """The lines of a CSV file by the names of its columns; none where there is no file."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def append_rows(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Add lines to a CSV file, which is made where there is none; what a row does not name stays empty."""
    path.parent.mkdir(parents=True, exist_ok=True)
    begins = not path.is_file()
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n", restval="")
        if begins:
            writer.writeheader()
        writer.writerows(rows)


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


def table(headings: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A markdown table; all columns but the first are aligned right."""
    lines = [headings, ("---", *["---:"] * (len(headings) - 1)), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
