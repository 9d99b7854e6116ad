from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.policies import expansion

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
def test_study_fills_its_part_of_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- expansion: begin -->\n<!-- expansion: end -->\nafter\n")
    assert expansion.main(["--averages", "3", "--seeds", "0", "--work", str(tmp_path), "--page", str(page)]) == 0
    printed = capsys.readouterr().out
    assert "| demo network, 3 bits | " in printed
    assert printed.strip() in page.read_text()
    assert page.read_text().startswith("before\n")
    assert page.read_text().endswith("after\n")


def test_unknown_networks_and_missing_data_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert expansion.main(["--network", "resnet56"]) == 2
    assert "--network resnet56 is unknown: give some of resnet20, chargpt" in capsys.readouterr().err
    assert expansion.main(["--network", "resnet20"]) == 2
    assert "--data is missing" in capsys.readouterr().err
