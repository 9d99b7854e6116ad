from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from benchmarks.pages import DOCS, RESULTS
from benchmarks.solvers.page import write_page

if TYPE_CHECKING:
    from pathlib import Path


def test_every_table_of_the_page_is_written_from_the_results_in_the_tree(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    shutil.copy(DOCS / "benchmarks.md", page)
    write_page(RESULTS / "solvers.csv", page)
    for name in ("made", "reach", "one budget", "several", "growth", "families", "khan"):
        assert f"<!-- {name}: begin -->\n\n" in page.read_text(encoding="utf-8")
