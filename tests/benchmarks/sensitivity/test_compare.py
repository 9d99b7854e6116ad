from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import mckp_quant as mq

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))


def benchmark(name: str = "") -> Any:
    return importlib.import_module(f"benchmarks.sensitivity.compare{name}")


def row(part: str, network: str, method: str, name: str, value: float, seed: int = 0) -> dict[str, str]:
    place = {"part": part, "network": network, "method": method, "seed": str(seed), "name": name}
    return {"date": "", "commit": "", "versions": "", "processor": "", **place, "value": repr(value)}


def test_without_data_it_says_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = ["--results", str(tmp_path / "results.csv")]
    assert benchmark().main(["--network", "resnet20", *results]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "resnet20_cifar10.safetensors, cifar10_exact.npz missing" in printed.err
    (tmp_path / "networks.py").touch()
    assert benchmark().main(["--data", str(tmp_path), "--network", "chargpt", *results]) == 2
    assert "chargpt_shakespeare.safetensors, tinyshakespeare.txt missing" in capsys.readouterr().err


def test_what_has_results_is_not_planned_again() -> None:
    script = benchmark()
    everything = list(script.planned(["cost", "accuracy"], ["digits"], set()))
    done = {(each.part, each.network, *job) for each in everything for job in each.jobs}
    assert list(script.planned(["cost", "accuracy"], ["digits"], done)) == []
    done.remove(("accuracy", "digits", "gauss_newton", 2))
    (left,) = script.planned(["cost", "accuracy"], ["digits"], done)
    assert left == script.Process("accuracy", "digits", (("gauss_newton", 2),))


def test_packages_that_are_not_installed_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    methods = {method for each in benchmark().planned(["cost", "trace"], ["digits"], set()) for method, _ in each.jobs}
    assert "gauss_newton" in methods
    assert not any(method.startswith(("pyhessian", "curvlinops")) for method in methods)


@pytest.mark.parametrize("family", ["w2,w3,w4", "w3,w4,w8"])
def test_policies_have_equal_size_and_differ(family: str) -> None:
    studies = benchmark("_studies")
    model = nn.Sequential(*[nn.Linear(8, 8) for _ in range(10)])
    table = mq.measure(model, [torch.zeros(1, 8)], formats=studies.FORMATS, method="weight_mse")
    bits = np.array([entry.weight_bits for entry in table.formats])
    policies = studies.equal_size_policies(table, family, 0, 12)
    assert len({tuple(picks) for picks in policies}) > 6
    for picks in policies:
        assert abs(bits[picks].mean() / studies.FAMILIES[family] - 1) <= 0.01
        assert {table.format_names[pick] for pick in picks} <= set(family.split(","))


def test_the_order_of_tasks_does_not_change_how_often_they_run() -> None:
    calls = {"one": 0, "two": 0}

    def count(name: str) -> None:
        calls[name] += 1

    seconds = benchmark("_worker").timed({"one": lambda: count("one"), "two": lambda: count("two")}, 3)
    assert calls == {"one": 4, "two": 4}
    assert set(seconds) == {"one", "two"}


def test_an_estimate_that_is_the_truth_ranks_perfectly() -> None:
    worker, studies = benchmark("_worker"), benchmark("_studies")
    bench = worker.Bench("digits", None, 16, 1, 5, {})
    loss = bench.estimate("gauss_newton", bench.study.drawn(0), 0)
    truth = {f"cell {r} {c}": float(value) for (r, c), value in np.ndenumerate(loss.numpy())}
    table = mq.measure(bench.model, bench.study.drawn(0), formats=studies.FORMATS, method="weight_mse")
    for family in studies.FAMILIES:
        for number, picks in enumerate(studies.equal_size_policies(table, family, 0, 5)):
            truth[f"policy {family} 0 {number}"] = float(loss[range(len(loss)), picks].sum())
    bench.truth = truth
    figures = worker.accuracy(bench, "gauss_newton", 0)
    assert len(figures) == 2 * 4 + len(studies.FAMILIES)
    assert all(value == pytest.approx(1) for value in figures.values())


def test_tables_show_medians_the_worst_and_quotients() -> None:
    rows = [row("cost", "digits", "gauss_newton", "gradients", 1.234)]
    rows += [row("memory", "digits", name, "peak", 2**20 * mib) for name, mib in (("gradient", 8), ("gauss_newton", 6))]
    for method, seconds, error in (("pyhessian", 60.0, 0.05), ("gauss_newton", 0.5, 0.09)):
        rows += [row("trace", "digits", method, "seconds", seconds), row("trace", "digits", method, "error", error)]
    rows.append(row("trace", "digits", "pyhessian", "draws", 40))
    rows.append(row("trace", "digits", "gauss_newton", "total error", 0.03))
    studies = benchmark("_studies")
    for seed, value in enumerate((0.5, 0.9, 0.7)):
        for name in studies.FORMATS.split(","):
            rows.append(row("accuracy", "digits", "gauss_newton", f"within {name}", value, seed))
            rows.append(row("accuracy", "digits", "gauss_newton", f"ratio {name}", 2 * value, seed))
        rows += [
            row("accuracy", "digits", "gauss_newton", f"policies {family}", value / 2, seed)
            for family in studies.FAMILIES
        ]
    found = benchmark("_pages").pages(rows)
    assert "| `gauss_newton` | 1.23 |" in found["costs"]
    assert "| `gauss_newton` | 6.0 (0.75) |" in found["memory"]
    # The sum is known after one pass, all entries after four: (9 / 5)^2 = 3.2.
    assert "| digits | 40 | 60.0 | 5.0 % | 0.50 | 3.0 % | 9.0 % | 120 | 30 |" in found["traces"]
    within = "| `gauss_newton` | 0.70 | 0.70 | 0.70 | 0.70 | 0.50 "
    assert within + "| 0.35 | 0.35 | 0.35 | 0.25 | 1.4 1.4 1.4 1.4 |" in found["ranks"]


def test_the_page_has_a_place_for_every_table() -> None:
    page = (ROOT / "docs" / "sensitivity.md").read_text(encoding="utf-8")
    for name in benchmark("_pages").pages([]):
        assert f"<!-- {name}: begin -->" in page
        assert f"<!-- {name}: end -->" in page
