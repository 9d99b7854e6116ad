from __future__ import annotations

import json
from typing import TYPE_CHECKING

from benchmarks import truth

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def run(work: Path, *more: str) -> int:
    few = ["--network", "demo", "--averages", "3", "--evaluations", "3", "--work", str(work)]
    return truth.main([*few, *more])


def test_plan_says_what_it_will_cost_and_does_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path / "work", "--plan") == 0
    captured = capsys.readouterr()
    assert "demo network: about " in captured.err
    assert "500 inputs judge" in captured.err
    assert not (tmp_path / "work").exists()


def test_every_method_is_judged_once_and_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        truth, "TABLES", {name: truth.TABLES[name] for name in (truth.REFERENCE, "weight error + greedy")}
    )
    assert run(tmp_path, "--output", str(tmp_path / "table.md")) == 0
    first = capsys.readouterr()
    lines = (tmp_path / "judged.jsonl").read_text().splitlines()
    methods = [json.loads(line)["key"].split("|")[3] for line in lines]
    assert methods == [
        "uniform",
        "Gauss-Newton + exact",
        "weight error + greedy",
        "Gauss-Newton + interactions",
        "refined, 3",
        "interactions, refined, 3",
    ]
    assert first.out.count("demo network, 3, ") == len(methods)
    assert (tmp_path / "table.md").read_text() == first.out
    # A line that was cut off is judged again, and nothing else is.
    (tmp_path / "judged.jsonl").write_text("\n".join([*lines[:-1], lines[-1][:50]]) + "\n")
    assert run(tmp_path) == 0
    again = capsys.readouterr()
    assert again.err.count("held-out KL") == 1
    assert [line.rsplit("|", 2)[0] for line in again.out.splitlines()] == [
        line.rsplit("|", 2)[0] for line in first.out.splitlines()
    ]


def test_networks_without_their_data_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert truth.main(["--network", "resnet20"]) == 2
    assert "--data is missing" in capsys.readouterr().err
    assert truth.main(["--network", "resnet20", "--data", str(tmp_path)]) == 2
    assert "lacks networks.py" in capsys.readouterr().err
