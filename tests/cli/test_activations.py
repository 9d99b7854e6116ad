"""Weights and activations together from the command line: measured, allocated, validated."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from mckp_quant import Policy, SensitivityTable
from mckp_quant.cli import main

if TYPE_CHECKING:
    from pathlib import Path

NET = """
import torch

def model():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NET)
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "data.npz", inputs=rng.normal(size=(64, 6)), targets=rng.integers(0, 3, 64))
    return tmp_path


MEASURE = ["measure", "net.py:model", "--data", "data.npz", "--formats", "w4a4,w4a8,w8a8", "-o", "t.json"]


def test_a_joint_policy_goes_from_the_table_to_its_validation(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    assert main([*MEASURE, "--activation-range", "minmax"]) == 0
    table = SensitivityTable.load("t.json")
    assert table.ranges is not None
    assert table.ranges.rule == "minmax"
    assert main(["solve", "t.json", "--budget", "bops=50%", "-o", "p.json"]) == 0
    policy = Policy.load("p.json")
    assert policy.ranges is not None
    assert {layer for layer, _ in policy.ranges.ranges} == {"0", "2"}
    capsys.readouterr()
    assert main(["validate", "p.json", "--model", "net.py:model", "--data", "data.npz"]) == 0
    assert "policy" in capsys.readouterr().out


def test_an_unknown_rule_is_refused_with_the_nearest(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    assert main([*MEASURE, "--activation-range", "percentiles"]) == 2
    assert "unknown activation_range 'percentiles': did you mean 'percentile'" in capsys.readouterr().err.replace(
        "\n", " "
    )
