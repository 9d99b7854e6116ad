from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from benchmarks.sensitivity import compare

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_without_data_it_says_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = ["--results", str(tmp_path / "results.csv")]
    assert compare.main(["--network", "resnet20", *results]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "--data is missing" in printed.err
    assert "resnet20_cifar10.safetensors" in printed.err
    (tmp_path / "networks.py").touch()
    assert compare.main(["--data", str(tmp_path), "--network", "chargpt", *results]) == 2
    assert "lacks chargpt_shakespeare.safetensors, tinyshakespeare.txt." in capsys.readouterr().err


def test_what_has_results_is_not_planned_again() -> None:
    everything = list(compare.planned(["cost", "accuracy"], ["digits"], set()))
    done = {(each.part, each.network, *job) for each in everything for job in each.jobs}
    assert list(compare.planned(["cost", "accuracy"], ["digits"], done)) == []
    done.remove(("accuracy", "digits", "gauss_newton", 2))
    (left,) = compare.planned(["cost", "accuracy"], ["digits"], done)
    assert left == compare.Process("accuracy", "digits", (("gauss_newton", 2),))


def test_packages_that_are_not_installed_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    methods = {method for each in compare.planned(["cost", "trace"], ["digits"], set()) for method, _ in each.jobs}
    assert "gauss_newton" in methods
    assert not any(method.startswith(("pyhessian", "curvlinops")) for method in methods)
