from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.solvers import compare
from benchmarks.solvers.library import library
from benchmarks.solvers.raw import RAW
from mckp_quant.solvers import available

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--instances", "nowhere"], "--instances nowhere: there is no such folder"),
        (["run", "--only", "no such"], "--only 'no such': no family has that in its name"),
        (
            ["page", "--csv", "nowhere.csv"],
            "--csv nowhere.csv: there is no such file; make it with: python -m benchmarks.solvers.compare run",
        ),
    ],
)
def test_what_cannot_be_done_is_said(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    assert compare.main(arguments) == 2
    assert message in capsys.readouterr().err


def test_the_plan_names_families_of_the_library_and_solvers_that_exist() -> None:
    families = {each.family for each in library().values()} | {"Khan", "HAWQ-V3 ResNet-18"}
    known = {"front", *RAW, *available()}
    for row in compare.plan():
        assert row.family in families
        assert set(row.solvers) <= known


def test_a_run_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "results.csv"
    asked: list[tuple[str, str]] = []

    class Idle:
        def __init__(self, name: str, folder: Path | None) -> None:
            self.name = name

        def solve(self, instance: str, seconds: float) -> dict[str, Any]:
            asked.append((self.name, instance))
            return {"claim": "optimal", "cpu": 0.5, "wall": 0.5, "value": 1.0, "excess": 0}

        def close(self) -> None:
            pass

    monkeypatch.setattr(compare, "Worker", Idle)
    arguments = ["run", "--only", "odd 54x16", "--csv", str(path)]
    assert compare.main(arguments) == 0
    assert len(asked) == 3
    assert compare.main(arguments) == 0
    assert len(asked) == 3
    assert compare.main([*arguments, "--fresh"]) == 0
    assert len(asked) == 6
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["round"] for row in rows] == ["0", "1", "2"]
    assert all(row["date"] and "numpy" in row["versions"] for row in rows)
