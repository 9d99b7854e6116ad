from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from benchmarks.policies import expansion

if TYPE_CHECKING:
    from pathlib import Path


def test_study_fills_its_part_of_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- expansion: begin -->\n<!-- expansion: end -->\nafter\n")
    assert expansion.main(["--averages", "3", "--seeds", "0", "--work", str(tmp_path), "--page", str(page)]) == 0
    printed = capsys.readouterr().out
    assert "| demo network, 3 bits | " in printed
    assert printed.strip() in page.read_text()
    assert page.read_text().startswith("before\n")
    assert page.read_text().endswith("after\n")


def test_rank_correlation_follows_the_order_only() -> None:
    numbers = np.array([0.1, 5.0, -2.0, 7.0])
    assert expansion.rank_correlation(numbers, np.exp(numbers)) == pytest.approx(1)
    assert expansion.rank_correlation(numbers, -numbers) == pytest.approx(-1)
