from __future__ import annotations

import dataclasses
import types
from typing import TYPE_CHECKING

import numpy as np
import pytest

from benchmarks.problems import FAMILIES, draw
from benchmarks.solvers import fuzz
from mckp_quant.solvers import solve

from .problems import small

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--problems", "0"], "--problems 0: it must be at least 1"),
        (["--processes", "0"], "--processes 0: it must be at least 1"),
        (["--seed", "-1"], "--seed -1: it must be at least 0"),
    ],
)
def test_what_cannot_be_done_is_said(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    assert fuzz.main(arguments) == 2
    assert message in capsys.readouterr().err


def test_the_fuzz_notices_wrong_answers() -> None:
    problem = small(8)
    solution = solve(problem)
    assert fuzz.judge(problem, solution, solution.value) == ["problems", "against an oracle"]
    assert "wrong" in fuzz.judge(problem, solution, solution.value - 1)
    assert "certificate fails" in fuzz.judge(problem, solution, solution.value - 1)
    assert "over budget" in fuzz.judge(problem.with_budget(solution.cost[0] - 1), solution, None)
    assert "wrong" in fuzz.judge(problem, solve(problem.with_budget(-1)), solution.value)


def test_the_fuzz_notices_another_selection_without_kernels() -> None:
    problem = small(8)
    solution = solve(problem)
    assert fuzz.compared(solution, fuzz.in_numpy(problem)) == []
    assert solution.choice is not None
    other = dataclasses.replace(solution, choice=solution.choice[::-1] + 1)
    assert fuzz.compared(solution, other) == ["not the same"]
    searched = {**other.stats, "claimed": "FEASIBLE"}
    assert fuzz.compared(solution, dataclasses.replace(other, stats=searched)) == ["tied"]
    assert fuzz.compared(solution, solve(problem.with_budget(-1))) == ["not the same"]


def test_a_fuzz_that_ran_out_of_minutes_keeps_its_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz, "BLOCK", 2)
    clock = iter([0.0, 100.0])
    monkeypatch.setattr(fuzz, "time", types.SimpleNamespace(monotonic=clock.__next__))
    output = tmp_path / "fuzz.csv"
    arguments = ["--problems", "4", "--processes", "1", "--minutes", "1", "--output", str(output)]
    assert fuzz.main(arguments) == 0
    assert not output.exists()
    assert len(fuzz._finished(tmp_path / "fuzz.part", 0)) == 1


def test_every_family_of_the_fuzz_can_be_drawn() -> None:
    rng = np.random.default_rng(0)
    for family in FAMILIES:
        for n_budgets in (1, 2, 3):
            assert draw(rng, family, n_budgets).n_resources == n_budgets


def test_a_fuzz_that_was_stopped_goes_on_where_it_was(tmp_path: Path) -> None:
    part = tmp_path / "fuzz.part"
    tally = fuzz.Tally({("drawn", 2, "problems"): 7}, ["seed 1: wrong"], 0.5)
    fuzz._keep(part, 1, 3, tally)
    fuzz._keep(part, 2, 4, tally)
    assert fuzz._finished(part, 1) == {3: tally}
    assert fuzz._finished(tmp_path / "none.part", 1) == {}
