from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from benchmarks.solvers.building import HEADINGS, main

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_each_share_is_solved_with_and_without_conflicts_to_one_value(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- building: begin -->\n<!-- building: end -->\nafter\n")
    assert main(["--seeds", "1", "--layers", "6", "--csv", str(tmp_path / "out.csv"), "--page", str(page)]) == 0
    with (tmp_path / "out.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(HEADINGS)
    assert [(row["share"], row["conflicts"]) for row in rows] == [
        (share, conflicts) for share in ("30%", "50%", "70%") for conflicts in ("yes", "no")
    ]
    assert all(row["status"] == "proved optimal" for row in rows)
    assert len(capsys.readouterr().out.splitlines()) == 6
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.count("proved optimal") == 6
