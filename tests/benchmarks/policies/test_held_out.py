from __future__ import annotations

import csv
import json
from fractions import Fraction
from typing import TYPE_CHECKING

import pytest

import mckp_quant as mq
from benchmarks.policies import held_out, held_out_methods
from benchmarks.policies.methods import JOINT

if TYPE_CHECKING:
    from pathlib import Path

METHODS = [
    "uniform",
    "Gauss-Newton + exact",
    "weight error + greedy",
    "Gauss-Newton + interactions",
    "refined, 200",
    "evolution, 4",
]
PAGE, TABLES = (
    "".join(f"<!-- {name}: begin -->\n<!-- {name}: end -->\n" for name in names)
    for names in (["made"], ["findings", "tables"])
)


def run(action: str, folder: Path, *more: str) -> int:
    few = ["--network", "demo", "--averages", "3", "--seeds", "0", "--evaluations", "200", "--evolution", "4"]
    kept = ["--work", str(folder / "work"), "--csv", str(folder / "results.csv"), "--page", str(folder / "page.md")]
    return held_out.main([action, *few, *kept, *more])


def test_plan_says_what_it_will_cost_and_does_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("plan", tmp_path) == 0
    captured = capsys.readouterr()
    assert "demo network: at most about " in captured.err
    assert "500 inputs judge" in captured.err
    assert not (tmp_path / "work").exists()


@pytest.mark.slow
def test_every_method_is_judged_once_and_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {name: held_out_methods.TABLES[name] for name in METHODS[1:3]}
    monkeypatch.setattr(held_out_methods, "TABLES", few)
    assert run("run", tmp_path) == 0
    judged = tmp_path / "work" / "judged.jsonl"
    lines = judged.read_text().splitlines()
    assert [json.loads(line)["method"] for line in lines] == METHODS
    first = (tmp_path / "results.csv").read_text()
    rows = {row["method"]: row for row in csv.DictReader(first.splitlines())}
    assert list(rows) == METHODS
    exact, uniform = rows["Gauss-Newton + exact"], rows["uniform"]
    assert float(exact["over_exact"]) == 0
    assert float(exact["over_uniform"]) == pytest.approx(float(exact["kl"]) - float(uniform["kl"]))
    capsys.readouterr()
    # A line that was cut off is judged again, and nothing else is.
    judged.write_text("\n".join([*lines[:-1], lines[-1][:50]]) + "\n")
    assert run("run", tmp_path) == 0
    assert capsys.readouterr().err.count("held-out KL") == 1
    (tmp_path / "page.md").write_text(PAGE)
    (tmp_path / "page_tables.md").write_text(TABLES)
    assert run("page", tmp_path) == 0
    assert rows["uniform"]["date"] in (tmp_path / "page.md").read_text()
    page = (tmp_path / "page_tables.md").read_text()
    assert all(f"| {method} |" in page for method in METHODS)
    assert "**demo network, 3 bits**, 256 calibration inputs, 1 seed:" in page
    assert "runs of refine, 200, that end above two paired errors over their start | 0 of 1" in page
    assert page.index("| uniform |") < page.index("| refined, 200 |") < page.index("| evolution, 4 |")


def test_methods_are_chosen_by_name(tmp_path: Path) -> None:
    assert run("run", tmp_path, "--methods", "uniform,Newton + exact") == 0
    lines = (tmp_path / "work" / "judged.jsonl").read_text().splitlines()
    assert [json.loads(line)["method"] for line in lines] == METHODS[:2]


def test_budget_of_rounded_inputs_is_that_of_a_uniform_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    case = held_out_methods.load_case("demo", None, 32)
    joint = held_out_methods.Case(case.name, case.model, case.pool, case.calibration, 32, case.held_out, JOINT)
    lab = held_out_methods.Laboratory(joint, 0, tmp_path)
    costs = mq.Policy.uniform(lab.table("gauss_newton").layers, "w4a6").costs
    assert lab.budget(Fraction(4)) == {"weight_bytes": costs["weight_bytes"], "bops": costs["bops"]}
    monkeypatch.setattr(held_out, "load_case", lambda *_: joint)
    assert run("plan", tmp_path, "--averages", "4,5") == 2
    assert "--averages 5: demo network has no uniform format of that size in w2a" in capsys.readouterr().err


def test_what_cannot_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert held_out.main(["run", "--network", "resnet20"]) == 2
    assert "--data is missing" in capsys.readouterr().err
    assert held_out.main(["run", "--network", "resnet20-inputs", "--data", str(tmp_path)]) == 2
    assert "lacks networks.py" in capsys.readouterr().err
    assert held_out.main(["run", "--network", "resnet56"]) == 2
    assert "--network resnet56 is unknown: give some of resnet20, chargpt" in capsys.readouterr().err
    assert held_out.main(["plan", "--network", "demo", "--calibration", "900"]) == 2
    assert "demo network: 900 calibration inputs, but the pool holds 300" in capsys.readouterr().err
    assert held_out.main(["page", "--csv", "none.csv"]) == 2
    message = "--csv none.csv: there is no such file; make it with: python -m benchmarks.policies.held_out run"
    assert message in capsys.readouterr().err
