from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mckp_quant.bench import running
from mckp_quant.bench.asking import ask
from mckp_quant.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable

    from mckp_quant.bench.worker import Record, Run
    from mckp_quant.solvers import Problem

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "own_solver.py"


class Here:
    """A worker that solves in this process."""

    def __init__(self, run: Run, make: Callable[[str], Problem]) -> None:
        self._run, self._make = run, make

    def solve(self, problem: str, seconds: float) -> Record:
        made = self._make(problem)
        return {"groups": made.n_groups, **self._run(made, seconds)(), "cpu": 0.01, "wall": 0.01, "peak_bytes": 1}

    def close(self) -> None:
        pass


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(running, "Worker", Here)
    Path("own.py").write_text(EXAMPLE.read_text(encoding="utf-8"), encoding="utf-8")
    Path("wrong.py").write_text(
        "import dataclasses\nfrom typing import ClassVar\nfrom mckp_quant.solvers import Answer\n\n"
        "@dataclasses.dataclass(frozen=True)\nclass Wrong:\n"
        "    name: ClassVar[str] = 'wrong'\n    requires: ClassVar[str | None] = None\n"
        "    reference: ClassVar[str] = 'none'\n\n    def supports(self, problem):\n        return None\n\n"
        "    def __call__(self, problem, *, seconds, seed, warm):\n        return Answer(None, complete=True)\n"
    )


def test_bench_writes_results_and_pages_and_says_whose_answers_are_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["bench", "--family", "zigzag:6x4:2", "--solver", "exact,own.py:OnePrice,wrong.py:Wrong"]
    assert main([*arguments, "--rounds", "1", "-o", "out", "--budgets", "30%,60%"]) == 0
    captured = capsys.readouterr()
    assert captured.err.splitlines() == [
        *(f"wrote out/{name}" for name in ("results.csv", "page.md", "page.html")),
        "4 wrong answers: see out/page.html",
    ]
    (row,) = [line for line in captured.out.splitlines() if line.startswith("`exact`")]
    assert row.split()[:-1] == ["`exact`", "4", "4", "4", "0", "0", "4"]
    assert "- `wrong.py:Wrong` on `zigzag:6x4:0 at 30%` was refused: wrong says that no selection" in captured.out
    assert "`own.py:OnePrice` on" not in captured.out
    with Path("out/results.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12
    assert {row["claim"] for row in rows if row["solver"] == "own.py:OnePrice"} <= {"feasible", "optimal"}


def test_the_example_of_the_pages_refuses_what_it_cannot_take() -> None:
    from mckp_quant.solvers import instances

    record = ask("own.py:OnePrice", instances.several_budgets(4, 3, 2), 1.0)()
    assert record == {"claim": "not taken", "note": "one_price takes one budget, and neither rows nor pairs"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "there is no problem to solve: name files, or families such as 'zigzag:100x10:3'"),
        (["--family", "zigzag:3x2:1", "--rounds", "0"], "--rounds is 0: it must be a whole number, at least 1"),
        (["--family", "zigzag:3x2:1", "--seconds", "0"], "--seconds is 0.0: it must be a number above 0"),
        (["--family", "zigzag:3x2:1", "--budgets", "half"], "budgets = 'half' cannot be read"),
        (["none.json"], "cannot read the problem 'none.json'"),
        (["--family", "zigzag:3x2:1", "--solver", "own.py:One"], "unknown Class in 'own.py' 'One'"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", *arguments, "-o", "out"]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not Path("out").exists()
