from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mckp_quant.cli import main
from mckp_quant.tables import read_costs
from mckp_quant.timing.graphs import OnnxRuns

from ...onnx_models import graphs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mckp_quant import Policy

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    onnx.save(graphs.classifier(), "net.onnx")
    np.savez("data.npz", x=graphs.draw(4, 2, 4, 4, seed=9))
    return tmp_path


def machine(fused: float) -> Any:
    """Times in place of ONNX Runtime's: 3 us for a float layer, 1 us for w8, and less where neighbours are fused."""

    def run(self: OnnxRuns, policies: Sequence[Policy]) -> np.ndarray:
        times = []
        for policy in policies:
            few = sum(entry.name == "w8" for entry in policy.formats)
            times.append((9 - 2 * few) * (1 - fused * (few == 3)))
        return np.repeat(np.array(times, dtype=float)[:, None] * 1e-6, 15, axis=1)

    return run


TIME = ["time", "onnx:net.onnx", "--data", "data.npz", "--formats", "w8"]


def test_costs_are_written_that_solve_reads(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(OnnxRuns, "__call__", machine(0.0))
    assert main([*TIME, "-o", "latency.json"]) == 0
    shown = capsys.readouterr().out
    assert "3 layers in onnxruntime, from 12 networks, 15 rounds" in shown
    assert "the sums hold: " in shown
    costs = read_costs("latency.json")
    assert (costs.unit, costs.formats) == ("ns", ("float", "w8"))
    np.testing.assert_allclose(costs.cost.sum(axis=0), [9000, 3000], atol=3)
    rows = [f"{name},64,4,0.0,{0.1 * at}" for at, name in enumerate(costs.layer_names, 1)]
    (files / "table.csv").write_text("\n".join(["layer,elements,channels,float,w8", *rows]) + "\n")
    solve = ["solve", "table.csv", "--costs", "latency=latency.json", "--budget", "latency=8us", "--json"]
    assert main(solve) == 0
    assert json.loads(capsys.readouterr().out)["costs"]["latency"] <= 8000


def test_a_sum_that_does_not_hold_is_written_and_told(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(OnnxRuns, "__call__", machine(0.9))
    assert main([*TIME, "-o", "latency.json", "--json"]) == 1
    told = capsys.readouterr()
    assert "mckp-quant: the sums do not hold: the fastest network is off by most" in told.err
    document = json.loads(told.out)
    assert document == json.loads((files / "latency.json").read_text())
    assert document["schema"] == "mckp-quant/costs/1"
    assert (document["holds"], document["target"], document["threads"]) == (False, "onnxruntime", 1)
    assert {"processor", "versions", "date"} <= set(document)


def test_another_result_is_not_replaced(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (files / "latency.json").write_text("{}")
    assert main([*TIME, "-o", "latency.json"]) == 2
    assert "name another file, or replace it with --force" in capsys.readouterr().err


def test_a_runtime_that_there_is_not_is_refused(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*TIME, "--runtime", "tensorrt", "-o", "latency.json"]) == 2
    assert "target that ONNX Runtime computes 'tensorrt'" in capsys.readouterr().err
