from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks import pages
from benchmarks.command_line import WrongInput

if TYPE_CHECKING:
    from pathlib import Path

MARKED = "top\n<!-- made: begin -->\nold\n<!-- made: end -->\nbottom\n"


def test_only_the_part_between_the_markers_of_a_page_changes(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(MARKED, encoding="utf-8")
    with pytest.raises(WrongInput, match="has no part between <!-- other: begin --> and <!-- other: end -->"):
        pages.fill(page, {"made": "new", "other": "new"})
    assert page.read_text(encoding="utf-8") == MARKED
    pages.fill(page, {"made": "new"})
    assert page.read_text(encoding="utf-8") == "top\n<!-- made: begin -->\n\nnew\n\n<!-- made: end -->\nbottom\n"


def test_rows_that_were_appended_are_read(tmp_path: Path) -> None:
    path = tmp_path / "new" / "results.csv"
    assert pages.read_rows(path) == []
    pages.append_rows(path, ("a", "b"), [{"a": 1, "b": 2}])
    pages.append_rows(path, ("a", "b"), [{"a": 3}])
    assert pages.read_rows(path) == [{"a": "1", "b": "2"}, {"a": "3", "b": ""}]


def test_all_columns_but_the_first_are_aligned_right() -> None:
    assert pages.table(("a", "b"), [("x", "1")]) == "| a | b |\n| --- | ---: |\n| x | 1 |"
