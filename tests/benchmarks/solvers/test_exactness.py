from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from benchmarks.pages import DOCS
from benchmarks.solvers import exactness

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--seeds", "0"], "--seeds 0: it must be at least 1"),
        (
            ["page", "--csv", "nowhere.csv"],
            "--csv nowhere.csv: there is no such file; make it with: python -m benchmarks.solvers.exactness run",
        ),
    ],
)
def test_what_cannot_be_done_is_said(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    assert exactness.main(arguments) == 2
    assert message in capsys.readouterr().err


def test_the_page_is_written_from_the_results_in_the_tree(tmp_path: Path) -> None:
    page = tmp_path / "exactness.md"
    shutil.copy(DOCS / "exactness.md", page)
    assert exactness.main(["page", "--page", str(page)]) == 0
    for name in ("made", "raw", "ours", "budget", "fuzz"):
        assert f"<!-- {name}: begin -->\n\n" in page.read_text(encoding="utf-8")
