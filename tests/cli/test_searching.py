from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from mckp_quant import Policy
from mckp_quant.cli import main

if TYPE_CHECKING:
    from pathlib import Path

NET = """
import torch

def model():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(6, 24), torch.nn.Tanh(), torch.nn.Linear(24, 8), torch.nn.Linear(8, 3))
"""
NETWORK = ["--model", "net.py:model", "--data", "data.npz"]
BUDGET = ["table.json", "--budget", "weight_bytes=50%"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a network, data, and a table measured from both."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NET)
    generator = torch.Generator().manual_seed(0)
    for name in ("data.npz", "other.npz"):
        inputs = torch.randn(48, 6, generator=generator).numpy()
        np.savez(tmp_path / name, inputs=inputs, targets=(inputs.sum(axis=1) > 0).astype(np.int64))
    measured = ["measure", "net.py:model", "--data", "data.npz", "--formats", "w2,w3,w4,w8", "-o", "table.json"]
    assert main([*measured, "--batch-size", "8"]) == 0
    return tmp_path


def test_a_search_writes_the_policy_that_it_reports(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    arguments = ["search", "table.json", "--budget", "weight_bytes=75%", *NETWORK, "--evaluations", "3"]
    assert main([*arguments, "-o", "found.json", "--checkpoint", "kept.json"]) == 0
    out = capsys.readouterr().out
    assert "evaluations, " in out
    assert "found by a search, not proved optimal" in out
    assert (here / "kept.json").exists()
    found = Policy.load(here / "found.json")
    assert main([*arguments, "-o", "again.json", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "mckp-quant/search/1"
    assert 0 < document["evaluations"] <= 3
    assert document["policy"]["layers"] == json.loads((here / "again.json").read_text())["layers"]
    assert found == Policy.load(here / "again.json")


def test_methods_are_compared_on_held_out_data(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    arguments = ["compete", *BUDGET, *NETWORK, "--methods", "exact,random,evoq", "--evaluations", "10", "--json"]
    assert main([*arguments, "--held-out", "other.npz"]) == 0
    rows = {row["method"]: row for row in json.loads(capsys.readouterr().out)["rows"]}
    assert list(rows) == ["exact", "random", "evoq"]
    assert rows["exact"]["evaluations"] == 0
    assert 0 < rows["random"]["evaluations"] <= 10
    assert rows["exact"]["status"] == "proved optimal"
    assert main(arguments) == 0
    told = capsys.readouterr()
    assert "flatters them" in told.err
    own = {row["method"]: row for row in json.loads(told.out)["rows"]}
    assert own["exact"]["policy"] == rows["exact"]["policy"]
    assert own["exact"]["kl"] != rows["exact"]["kl"]


def test_every_method_that_can_run_is_shown(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "bare.py").write_text("import torch\n\ndef data():\n    return [torch.zeros(4, 6), torch.ones(4, 6)]\n")
    capsys.readouterr()
    arguments = ["compete", *BUDGET, "--model", "net.py:model", "--data", "bare.py:data", "--evaluations", "10"]
    assert main(arguments) == 0
    told = capsys.readouterr()
    assert "progressive left out" in told.err
    shown = [line.split()[0] for line in told.out.splitlines()[2:] if line.strip()]
    assert "level_switch" in shown
    assert "progressive" not in shown


def test_a_method_that_finds_no_policy_does_not_cost_the_others(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    pinned = ["--pin", "0=w2", "--pin", "3=w8"]  # bits that only fall cannot do that
    assert main(["compete", *BUDGET, *NETWORK, *pinned, "--evaluations", "3"]) == 0
    told = capsys.readouterr()
    assert "monotone left out" in told.err
    assert any(line.startswith("exact") for line in told.out.splitlines())
    assert main(["compete", "table.json", "--budget", "weight_bytes=1", *NETWORK]) != 0


def test_what_was_an_option_of_compare_is_one_of_compete(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", *BUDGET, "--methods", "exact"]) == 2
    assert "--methods is no option of 'compare': use 'compete'" in capsys.readouterr().err
    assert main(["compare", *BUDGET, *NETWORK, "--solver", "nonsense", "--seconds", "-5"]) == 2
    assert "--model is no option of 'compare': use 'compete'" in capsys.readouterr().err
    assert main(["compete", *BUDGET, *NETWORK, "--methods", "evolve"]) == 2
    assert "unknown method 'evolve'" in capsys.readouterr().err
