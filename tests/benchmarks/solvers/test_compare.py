"""The benchmark scripts of the solvers: what they accept, refuse and write; nothing is measured here."""

from __future__ import annotations

import csv
import importlib
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mckp_quant.solvers import Enumerate, Problem, Status, instances, solve

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[3]
MARKED = "top\n<!-- made: begin -->\nold\n<!-- made: end -->\nbottom\n"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    monkeypatch.syspath_prepend(str(ROOT))
    return lambda name: importlib.import_module(f"benchmarks.{name}")


def small(budget: int, n_budgets: int = 1) -> Problem:
    rng = np.random.default_rng(budget)
    cost = rng.integers(0, 5, (n_budgets, 6, 3))
    return Problem.from_table(rng.normal(size=(6, 3)), cost, [budget] * n_budgets)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("solvers", ["run", "--instances", "nowhere"], "--instances nowhere: there is no such folder"),
        ("solvers", ["run", "--only", "no such"], "--only 'no such': no family has that in its name"),
        ("solvers", ["page", "--csv", "nowhere.csv"], "--csv nowhere.csv: there is no such file; make it with"),
        ("best_known", ["check", "--instances", "nowhere"], "--instances nowhere: there is no such folder"),
        ("best_known", ["list", "--only", "no such"], "--only 'no such': no instance has that in its name"),
        ("exactness", ["run", "--seeds", "0"], "--seeds 0: it must be at least 1"),
        ("exactness", ["page", "--csv", "nowhere.csv"], "--csv nowhere.csv: no such file; make it with"),
        ("fuzz", ["--problems", "0"], "--problems 0: it must be at least 1"),
        ("fuzz", ["--processes", "0"], "--processes 0: it must be at least 1"),
        ("fuzz", ["--seed", "-1"], "--seed -1: it must be at least 0"),
    ],
)
def test_what_cannot_be_done_is_said(
    script: Callable[[str], Any], capsys: pytest.CaptureFixture[str], name: str, arguments: list[str], message: str
) -> None:
    assert script(name).main(arguments) == 2
    assert message in capsys.readouterr().err


def test_the_plan_names_families_of_the_library_and_solvers_that_exist(script: Callable[[str], Any]) -> None:
    families = {each.family for each in script("instances").library().values()} | {"Khan", "HAWQ-V3 ResNet-18"}
    known = {"front", *script("raw").RAW, *script("solvers").available()}
    for row in script("solvers").plan():
        assert row.family in families
        assert set(row.solvers) <= known


def test_a_run_goes_on_where_it_stopped(
    script: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    solvers, path, asked = script("solvers"), tmp_path / "results.csv", []

    class Idle:
        def __init__(self, name: str, folder: Path | None) -> None:
            self.name = name

        def solve(self, instance: str, seconds: float) -> dict[str, Any]:
            asked.append((self.name, instance))
            return {"claim": "optimal", "cpu": 0.5, "wall": 0.5, "value": 1.0, "excess": 0}

        def close(self) -> None:
            pass

    monkeypatch.setattr(solvers, "Worker", Idle)
    arguments = ["run", "--only", "odd 54x16", "--csv", str(path)]
    assert solvers.main(arguments) == 0
    assert len(asked) == 3
    assert solvers.main(arguments) == 0
    assert len(asked) == 3
    assert solvers.main([*arguments, "--fresh"]) == 0
    assert len(asked) == 6
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["round"] for row in rows] == ["0", "1", "2"]
    assert all(row["date"] and "numpy" in row["versions"] for row in rows)


def test_instances_have_names_of_their_own_and_say_how_they_are_made(script: Callable[[str], Any]) -> None:
    library = script("instances").library()
    assert all(name == each.name and each.call for name, each in library.items())
    problem = library["ResNet-50 54x4, share 0.5, seed 1"].make()
    same = instances.quantisation(instances.resnet50(), (2, 3, 4, 8), share=0.5, seed=1)
    assert problem.value.tolist() == same.value.tolist()
    assert script("best_known").digest(problem) == script("best_known").digest(same)


def test_the_table_that_odd_costs_would_take_is_as_large_as_stated(script: Callable[[str], Any]) -> None:
    problem = script("instances").incommensurable()
    assert np.gcd.reduce(problem.cost[0]) == 1
    assert round(problem.n_groups * (int(problem.budget[0]) + 1) * 8 / 1e9) == 93


def test_published_problems_are_read_from_their_files(script: Callable[[str], Any], tmp_path: Path) -> None:
    khan = {"value": [[1, 2.5], [3, 4]], "weight": [[[1.0], [2.0]], [[1.0], [3.0]]], "capacity": [4.0]}
    (tmp_path / "mmkp_khan.json").write_text(json.dumps({"instances": {"I01": khan}}), encoding="utf-8")
    raw = {"Hutchinson_trace": [2.0, 0.5], "delta_weights_4bit_square": [0.3, 0.2], "parameters": [16, 32]}
    raw |= {"delta_weights_8bit_square": [0.1, 0.1], "bops": [64, 128], "latency_int4": [1e-5, 0.5]}
    hawq = {"layers": ["a", "b"], "tie_indices": [], "raw": raw | {"latency_int8": [2e-5, 1.0]}}
    (tmp_path / "hawqv3_resnet18.json").write_text(json.dumps(hawq), encoding="utf-8")
    library = script("instances").library(tmp_path)
    knapsack = library["Khan I01"].make()
    assert knapsack.value.tolist() == [-1, -2.5, -3, -4]
    assert knapsack.cost.tolist() == [[1, 2, 1, 3]]
    sizes = library["HAWQ-V3 modelsize 0.5"].make()
    assert sizes.value.tolist() == [0.6, 0.2, 0.1, 0.05]
    assert sizes.cost.tolist() == [[8, 16, 16, 32]]
    assert sizes.budget.tolist() == [36]
    assert library["HAWQ-V3 latency 0.25"].make().cost.tolist() == [[1000, 2000, 50_000_000, 100_000_000]]


def test_further_budgets_are_tightened_until_they_bind(script: Callable[[str], Any]) -> None:
    problem = instances.quantisation(instances.resnet50(), (2, 4, 8), n_budgets=2)
    tight = script("instances").tightened(problem)
    free = solve(problem.with_budget([problem.budget[0], 2**62])).require()
    assert tight.budget[0] == problem.budget[0]
    assert tight.budget[1] < free.cost[1]
    assert solve(tight).value > free.value


@pytest.mark.parametrize("budget", [0, 3, 8, 30])
@pytest.mark.parametrize("n_budgets", [1, 2])
def test_both_oracles_agree_with_trying_everything(script: Callable[[str], Any], budget: int, n_budgets: int) -> None:
    problem, oracle = small(budget, n_budgets), script("oracle")
    solution = solve(problem, Enumerate())
    expected = math.inf if solution.status is Status.INFEASIBLE else solution.value
    assert oracle.by_enumeration(problem) == expected
    assert oracle.by_table(problem) == pytest.approx(expected, rel=1e-12)
    assert oracle.optimum(problem) == expected


def test_the_fuzz_notices_wrong_answers(script: Callable[[str], Any]) -> None:
    fuzz, problem = script("fuzz"), small(8)
    solution = solve(problem)
    assert fuzz.judge(problem, solution, solution.value) == ["problems", "against an oracle"]
    assert "wrong" in fuzz.judge(problem, solution, solution.value - 1)
    assert "certificate fails" in fuzz.judge(problem, solution, solution.value - 1)
    assert "over budget" in fuzz.judge(problem.with_budget(solution.cost[0] - 1), solution, None)
    assert "wrong" in fuzz.judge(problem, solve(problem.with_budget(-1)), solution.value)


def test_every_family_of_the_fuzz_can_be_drawn(script: Callable[[str], Any]) -> None:
    fuzz, rng = script("fuzz"), np.random.default_rng(0)
    for family in fuzz.FAMILIES:
        for n_budgets in (1, 2, 3):
            assert fuzz.draw(rng, family, n_budgets).n_resources == n_budgets


def test_a_fuzz_that_was_stopped_goes_on_where_it_was(script: Callable[[str], Any], tmp_path: Path) -> None:
    fuzz, part = script("fuzz"), tmp_path / "fuzz.part"
    tally = fuzz.Tally({("drawn", 2, "problems"): 7}, ["seed 1: wrong"], 0.5)
    fuzz._keep(part, 1, 3, tally)
    fuzz._keep(part, 2, 4, tally)
    assert fuzz._finished(part, 1) == {3: tally}
    assert fuzz._finished(tmp_path / "none.part", 1) == {}


def test_raw_models_reach_the_optimum_of_a_plain_problem(script: Callable[[str], Any]) -> None:
    raw, problem = script("raw"), small(8)
    for name in ("raw cp_sat", "raw cp_sat 1e6", "raw cp_sat float", "raw highs", "raw highs default"):
        said = raw.RAW[name](problem, 10.0)
        assert said.optimal
        assert raw.exact_value(problem, said.choice) == pytest.approx(solve(problem).value, rel=1e-6)
        assert raw.over_budget(problem, said.choice) == 0
    assert raw.over_budget(problem.with_budget(-3), problem.start[:-1]) >= 3


def test_only_the_part_between_the_markers_of_a_page_changes(script: Callable[[str], Any], tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(MARKED, encoding="utf-8")
    text = script("environment").between_markers(page, "made", "new")
    assert text == "top\n<!-- made: begin -->\n\nnew\n\n<!-- made: end -->\nbottom\n"
    with pytest.raises(SystemExit, match="has no part between"):
        script("environment").between_markers(page, "other", "new")


def test_every_marker_of_the_pages_is_written(script: Callable[[str], Any]) -> None:
    for page, names in (
        ("benchmarks", ("made", "reach", "one budget", "several", "growth", "families", "khan")),
        ("exactness", ("made", "raw", "ours", "budget", "fuzz")),
    ):
        path = ROOT / "docs" / f"{page}.md"
        for name in names:
            assert script("environment").between_markers(path, name, "x")


def test_the_exponent_of_a_power_law_is_found(script: Callable[[str], Any]) -> None:
    measurements = script("measurements")
    assert measurements.exponent([(n, 3 * n**1.5) for n in (10, 100, 1000)]) == pytest.approx(1.5)
    assert math.isnan(measurements.exponent([(10, 1.0), (10, 2.0)]))


def test_a_solver_that_broke_a_budget_or_missed_the_optimum_is_wrong(
    script: Callable[[str], Any], tmp_path: Path
) -> None:
    solvers, path = script("solvers"), tmp_path / "results.csv"
    lines = [("exact", "optimal", "2.0", "0"), ("raw cbc", "optimal", "2.1", "0"), ("raw highs", "optimal", "1.9", "3")]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, (*solvers.FIELDS, *solvers.environment()), restval="0")
        writer.writeheader()
        for solver, claim, value, excess in lines:
            row = {"instance": "i", "family": "f", "solver": solver, "claim": claim, "value": value, "excess": excess}
            writer.writerow({**row, "cpu": "1.0", **solvers.environment()})
    results = script("measurements").read(path)
    assert results.of["i", "exact"].correct
    assert results.of["i", "raw cbc"].wrong
    assert results.of["i", "raw highs"].wrong
    assert results.ratios("f", "raw cbc") == [1.0]
    assert results.fastest("f", ["raw cbc", "raw highs"]) == []
