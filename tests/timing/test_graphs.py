"""ONNX Runtime by the clock: whatever the times are, the graphs are those that export writes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

import mckp_quant as mq
from mckp_quant import InvalidInput, Policy, RunOptions
from mckp_quant.export import export
from mckp_quant.formats import as_formats
from mckp_quant.network import discover
from mckp_quant.onnx_models import OnnxNetwork
from mckp_quant.timing import Clocking, time_network
from mckp_quant.timing.graphs import OnnxRuns, PolicyGraphs

from ..onnx_models import graphs

if TYPE_CHECKING:
    from pathlib import Path

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
QUICK = Clocking(rounds=3, turn=1e-6)
INPUTS = [torch.from_numpy(graphs.draw(4, 2, 4, 4, seed=9))]


def network() -> OnnxNetwork:
    return OnnxNetwork(graphs.classifier())


def test_a_graph_is_the_file_that_export_writes(tmp_path: Path) -> None:
    made = network()
    layers, formats = discover(made, INPUTS[0]), as_formats("float,w8")
    many = PolicyGraphs("onnxruntime", made, INPUTS, layers, formats, 1)
    for at, names in enumerate((("w8", "float", "w8"), ("float", "w8", "w8"))):
        policy = Policy(tuple(layer.name for layer in layers), as_formats_each(names))
        export(policy, "onnxruntime", model=made, output=tmp_path / str(at), batches=INPUTS)
        assert many.graph(policy) == onnx.load(tmp_path / str(at) / "model.onnx")


def as_formats_each(names: tuple[str, ...]) -> tuple[mq.Format, ...]:
    return tuple(mq.Format.named(name) for name in names)


def test_a_run_computes_the_first_samples() -> None:
    made = network()
    layers = discover(made, INPUTS[0])
    many = PolicyGraphs("onnxruntime", made, INPUTS, layers, as_formats("float,w8"), 3)
    many.graph(Policy.uniform(layers, "float"))
    np.testing.assert_array_equal(many.feed(["x"])["x"], INPUTS[0][:3].numpy())


def test_times_come_for_every_policy_and_progress_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    made = network()
    layers = discover(made, INPUTS[0])
    many = PolicyGraphs("onnxruntime", made, INPUTS, layers, as_formats("float,w8"), 1)
    told: list[tuple[int, int | None]] = []
    policies = [Policy.uniform(layers, name) for name in ("float", "w8", "float", "w8")]
    found = OnnxRuns(many, QUICK, RunOptions(progress=lambda *step: told.append(step)))(policies)
    assert found.shape == (4, 3)
    assert (found > 0).all()
    assert told[-1] == (7, 7)
    # Where few networks fit into memory at once, they take turns in groups, the first one in each.
    monkeypatch.setattr("mckp_quant.timing.graphs._HELD", 0)
    assert OnnxRuns(many, QUICK, RunOptions(progress=lambda *step: told.append(step)))(policies).shape == (4, 3)
    assert told[-1] == (13, 13)
    assert OnnxRuns(many, QUICK, RunOptions())(policies[:1]).shape == (1, 3)


def test_a_file_is_timed_with_whole_costs() -> None:
    timing = time_network(network(), INPUTS, "w8", layers=["conv", "head"], clocking=QUICK, networks=12)
    assert set(timing.costs.layer_names) == {"conv", "head"}
    assert timing.costs.formats == ("float", "w8")
    assert (timing.costs.cost >= 0).all()
    assert timing.networks == 12


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"target": "torchao"}, "target that ONNX Runtime computes 'torchao'.*onnxruntime_nbits"),
        ({"batches": []}, "there are no batches: a run needs an input, give one"),
        ({"layers": ["heed"]}, "layer 'heed'.*did you mean 'head'"),
        ({"samples": 5}, "samples is 5, and the first batch has 4: give larger batches"),
        ({"samples": 0}, "samples is 0: it must be a whole number, at least 1"),
        ({"formats": "w8a8"}, "'w8a8' rounds inputs of layers: into a graph that is only an ONNX file"),
        ({"run": RunOptions(checkpoint="file")}, r"means nothing to time_network\(\), which takes seed, progress"),
    ],
)
def test_what_cannot_be_timed_is_refused(options: dict[str, Any], words: str) -> None:
    given = {"batches": INPUTS, "formats": "w8", "clocking": QUICK, **options}
    with pytest.raises(InvalidInput, match=words):
        time_network(network(), **given)


@pytest.mark.slow
def test_a_network_of_torch_is_timed_in_every_kind_of_format(tmp_path: Path) -> None:
    """Batch norms stay where a weight has one scale: such graphs are traced from another network."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(2, 8, 3, bias=False), torch.nn.BatchNorm2d(8), torch.nn.Flatten(), torch.nn.Linear(32, 4)
    ).eval()
    inputs = [torch.randn(4, 2, 4, 4)]
    timing = time_network(model, inputs, "w8,w8a8,w4", clocking=QUICK)
    assert (timing.costs.cost >= 0).all()
    assert timing.costs.cost.sum(axis=0).max() > 1000  # a microsecond
    policy = replace(timing.checks[1].policy, ranges=None)
    many = PolicyGraphs("onnxruntime", model, inputs, discover(model, inputs[0]), as_formats("float,w8,w8a8,w4"), 1)
    export(policy, "onnxruntime", model=model, output=tmp_path / "made", batches=inputs)
    assert many.graph(policy) == onnx.load(tmp_path / "made" / "model.onnx")
    blocks = time_network(model, inputs, "w4g16", target="onnxruntime_nbits", layers=["3"], clocking=QUICK)
    assert blocks.costs.cost.shape == (1, 2)
