from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from benchmarks.pages import DOCS, RESULTS
from benchmarks.solvers.page import COMPILED, GENERAL, write_compiled, write_page

if TYPE_CHECKING:
    from pathlib import Path


def test_every_table_of_the_page_is_written_from_the_results_in_the_tree(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    shutil.copy(DOCS / "benchmarks.md", page)
    write_page(RESULTS / "solvers.csv", page)
    for name in ("made", "reach", "one budget", "several", "growth", "families", "khan"):
        assert f"<!-- {name}: begin -->\n\n" in page.read_text(encoding="utf-8")


def test_a_run_with_compiled_kernels_has_a_table_of_its_own(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- raw: begin -->\n<!-- raw: end -->\n", encoding="utf-8")
    write_compiled(RESULTS / "compiled.csv", page)
    lines = page.read_text(encoding="utf-8").splitlines()
    assert [line.split(" (")[0].removeprefix("| ") for line in lines[4:-2]] == list(COMPILED)
    assert f"| {' | '.join(GENERAL)} | fastest correct raw one |" in lines[2]
    assert all("not optimal" not in line and line.count("|") == len(GENERAL) + 4 for line in lines[4:-2])
