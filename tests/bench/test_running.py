from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mckp_quant import write_table
from mckp_quant.bench import problems_of, read_results, run_bench, running, write_page
from mckp_quant.errors import InvalidInput
from mckp_quant.solvers import solve

from ..drawn_tables import make_table

if TYPE_CHECKING:
    from mckp_quant.bench import BenchProblem

TOYS = f"{Path(__file__).parent / 'toys.py'}"
FAMILIES = (
    "uncorrelated:12x4:1",
    "weakly_correlated:12x4:1",
    "subset_sum:8x3:1",
    "zigzag:6x4:0-0",
    "zigzag:12x4:0-0",
    "several_budgets:5x3x2:1",
)


def tables(folder: Path) -> list[str]:
    rng = np.random.default_rng(0)
    files = []
    for number in range(10):
        path = folder / f"table{number}.{('json', 'csv', 'npz')[number % 3]}"
        write_table(make_table((rng.random((5, 1)) * [[1.0, 0.1, 0.01]]).tolist()), path)
        files.append(str(path))
    return files


@pytest.mark.slow
def test_ten_tables_and_five_families_and_the_page_names_wrong_answers(tmp_path: Path) -> None:
    problems = problems_of(tables(tmp_path), FAMILIES)
    assert len(problems) == 10 * 3 + len(FAMILIES)
    solvers = ("exact", "greedy", f"{TOYS}:Hasty", f"{TOYS}:Cheapest")
    path = run_bench(problems, solvers, folder=tmp_path / "out", rounds=1)
    results = read_results(path)
    assert len(results.measured) == len(problems) * len(solvers)
    for problem in problems:
        own = {each.solver: each for each in results.of(problem.name)}
        exact = solve(problem.make())
        assert own["exact"].claim == "optimal"
        assert own["exact"].value == exact.value == results.truth(problem.name).best
        assert own["exact"].cpu > 0
        assert results.proved(own["exact"])
        assert not results.wrong(own["greedy"])
        hasty = own[f"{TOYS}:Hasty"]
        if hasty.claim == "not taken":
            assert problem.family == "several_budgets"
            assert hasty.note == "hasty takes one budget"
        else:
            assert bool(results.wrong(hasty)) == (hasty.value > exact.value)
    wrong = {
        solver: [each for each in results.measured.values() if each.solver == solver and results.wrong(each)]
        for solver in solvers
    }
    assert not wrong["exact"]
    assert wrong[solvers[2]]
    assert wrong[solvers[3]]

    markdown, html = write_page(tmp_path / "out")
    text = markdown.read_text(encoding="utf-8")
    part = text.partition("## Wrong answers\n")[2].partition("\n## ")[0]
    for solver in solvers[2:]:
        for each in wrong[solver]:
            assert f"- `{solver}` on `{each.problem}` " in part
            assert each.problem in html.read_text(encoding="utf-8")
    assert f"called {wrong[solvers[2]][0].value!r} optimal; exact found" in part
    assert "was refused: cheapest says that nothing is better than" in part
    assert "`exact`" not in part
    assert "## Growth: zigzag" in text
    for line in text.splitlines():
        if line.startswith("!["):
            assert (tmp_path / "out" / line.rpartition("(")[2].rstrip(")")).is_file()


class Asked:
    """In the place of processes: what was asked of whom, in which order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cpu: float = 0.01, claim: str = "optimal") -> None:
        self.calls: list[tuple[str, str]] = []
        self.closed = 0
        asked = self

        class Idle:
            def __init__(self, run: Any, make: Any) -> None:
                (self.spec,) = run.args
                self.make = make

            def solve(self, problem: str, seconds: float) -> dict[str, Any]:
                assert self.make(problem).n_groups > 0
                asked.calls.append((problem, self.spec))
                return {"claim": claim, "cpu": cpu, "wall": cpu, "value": 1.0, "holds": 1, "groups": 3}

            def close(self) -> None:
                asked.closed += 1

        monkeypatch.setattr(running, "Worker", Idle)


def two() -> tuple[BenchProblem, ...]:
    return problems_of((), ("zigzag:3x2:2",))


def test_a_run_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked(monkeypatch)
    done: list[int] = []

    def stop(count: int, total: int | None) -> None:
        done.append(count)
        assert total == 8
        if len(done) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_bench(two(), ("exact", "greedy"), folder=tmp_path, rounds=2, progress=stop)
    assert len(asked.calls) == 3
    assert asked.closed == 2
    run_bench(two(), ("exact", "greedy"), folder=tmp_path, rounds=2)
    assert len(asked.calls) == 8
    run_bench(two(), ("exact", "greedy"), folder=tmp_path, rounds=2)
    assert len(asked.calls) == 8
    run_bench(two(), ("exact", "greedy"), folder=tmp_path, rounds=2, seconds=1.0)
    assert len(asked.calls) == 16
    with (tmp_path / "results.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["round"] for row in rows[:4]] == ["0", "0", "1", "1"]
    assert all(row["date"] and "numpy" in row["versions"] for row in rows)


def test_a_file_that_changed_is_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked(monkeypatch)
    (tmp_path / "p.txt").write_text("1 2 1\n9\n5 1\n6 2\n")
    problems = problems_of([tmp_path / "p.txt"])
    run_bench(problems, ("exact",), folder=tmp_path, rounds=1)
    (tmp_path / "p.txt").write_text("1 2 1\n9\n5 1\n7 2\n")
    changed = problems_of([tmp_path / "p.txt"])
    run_bench(changed, ("exact",), folder=tmp_path, rounds=1)
    run_bench(changed, ("exact",), folder=tmp_path, rounds=1)
    assert len(asked.calls) == 2


def test_solvers_take_turns_and_another_begins_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked(monkeypatch)
    run_bench(two(), ("exact", "greedy", "relax"), folder=tmp_path, rounds=3)
    turns = [[spec for _, spec in asked.calls[at : at + 3]] for at in range(0, 18, 3)]
    assert all(sorted(turn) == ["exact", "greedy", "relax"] for turn in turns)
    assert {turn[0] for turn in turns} == {"exact", "greedy", "relax"}


@pytest.mark.parametrize(("cpu", "claim"), [(1.5, "feasible"), (0.01, "not taken"), (0.01, "crashed")])
def test_what_takes_long_or_gives_nothing_is_asked_once(
    cpu: float, claim: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Asked(monkeypatch, cpu, claim)
    run_bench(two(), ("exact",), folder=tmp_path, rounds=5)
    assert len(asked.calls) == 2


def test_each_solve_can_have_a_process_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked(monkeypatch)
    run_bench(two(), ("exact",), folder=tmp_path, rounds=2, own_process=True)
    assert asked.closed == 4 + 1


@pytest.mark.parametrize(
    ("solvers", "message"),
    [
        (("exakt",), r"unknown solver 'exakt': did you mean 'exact'\?"),
        (("exact", "exact"), "solver 'exact' is named twice: name it once"),
        ((f"{TOYS}:Hastyy",), "unknown Class in .*did you mean 'Hasty'"),
        ((f"{TOYS}:nothing",), "made a int, which is no solver: it needs name, requires, reference"),
        (("nowhere.py:Toy",), "solver file 'nowhere.py' does not exist: write package.module:Class"),
    ],
)
def test_solvers_that_are_none_are_refused_before_anything_runs(
    solvers: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InvalidInput, match=message):
        run_bench(two(), solvers, folder=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_solver_whose_package_is_missing_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mckp_quant.bench import asking

    asking.solver_of.cache_clear()
    monkeypatch.setattr(asking, "available", lambda: {"scip": "the package 'pyscipopt' is not installed"})
    with pytest.raises(InvalidInput, match="solver 'scip' cannot run here: the package 'pyscipopt' is not installed"):
        run_bench(two(), ("scip",), folder=tmp_path)


def test_numbers_and_files_of_another_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="rounds is 0: it must be a whole number, at least 1"):
        run_bench(two(), ("exact",), folder=tmp_path, rounds=0)
    with pytest.raises(InvalidInput, match="seconds is -1: it must be a number above 0"):
        run_bench(two(), ("exact",), folder=tmp_path, seconds=-1)
    (tmp_path / "results.csv").write_text("problem,solver\na,b\n")
    with pytest.raises(InvalidInput, match="lacks the column 'content': it is no results file of this version"):
        run_bench(two(), ("exact",), folder=tmp_path)
