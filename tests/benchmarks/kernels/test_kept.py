"""Speed is held against committed ratios: what is a quarter slower fails, and the yardstick is the same every time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.kernels import kept
from benchmarks.pages import RESULTS, read_rows

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_quarter_slower_is_lost_and_less_is_not() -> None:
    committed = {"a": 1.0, "b": 2.0, "c": 0.1}
    assert kept.lost({"a": 1.24, "b": 2.6, "c": 0.05, "new": 9.0}, committed) == ["b"]


def test_the_committed_figures_are_those_that_are_measured(tmp_path: Path) -> None:
    assert [row["figure"] for row in read_rows(RESULTS / "kept.csv")] == list(kept.figures(tmp_path))


def test_ratios_are_of_the_least_times(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, spent = [0.0], {"yardstick": iter((9, 4, 2, 3)), "work": iter((9, 5, 3, 8))}

    def spend(name: str) -> None:
        clock[0] += next(spent[name])

    monkeypatch.setattr(kept, "yardstick", lambda: spend("yardstick"))
    monkeypatch.setattr("time.process_time", lambda: clock[0])
    assert kept.measured({"work": lambda: spend("work")}, 3) == {"work": 1.5}


def test_a_loss_fails_and_a_missing_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(kept, "figures", lambda folder: {"a": int})
    monkeypatch.setattr(kept, "measured", lambda work, rounds: dict.fromkeys(work, 1.0))
    path = tmp_path / "kept.csv"
    assert kept.main(["check", "--figures", str(path)]) == 2
    assert "there is no such file; make it with: python -m benchmarks.kernels.kept write" in capsys.readouterr().err
    assert kept.main(["write", "--figures", str(path)]) == 0
    assert kept.main(["check", "--figures", str(path)]) == 0
    monkeypatch.setattr(kept, "measured", lambda work, rounds: dict.fromkeys(work, 1.3))
    assert kept.main(["check", "--figures", str(path)]) == 1
    assert "slower by more than 25%: a" in capsys.readouterr().out
    monkeypatch.setattr(kept, "figures", lambda folder: {"b": int})
    assert kept.main(["check", "--figures", str(path)]) == 2
    assert "'b' is not there; write it anew" in capsys.readouterr().err
