from __future__ import annotations

import logging
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mckp_quant import Format, InvalidInput, Policy, apply
from mckp_quant.export import OnnxRuntime, export
from mckp_quant.export.codes import scaled
from mckp_quant.export.graphs.graph import Graph
from mckp_quant.export.graphs.tracing import as_traced
from mckp_quant.rounding import EncodedWeight
from mckp_quant.rounding.encoded import OpaqueWeight

from ..networks import mixed, sqnr
from ..test_round_trip import traced

if TYPE_CHECKING:
    from collections.abc import Callable


class Half(nn.Module):
    """A convolution, a norm of which some factors are negative and one is zero, a convolution with a whole norm."""

    def __init__(self) -> None:
        super().__init__()
        self.config = SimpleNamespace(use_cache=True)  # like a network of transformers whose forward takes no such word
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.second = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.other = nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 5)
        with torch.no_grad():
            for at, norm in enumerate((self.norm, self.other)):
                norm.weight.copy_(torch.linspace(-0.5, 1.5, 8) if at else torch.linspace(-1, 0, 8))
                norm.bias.copy_(torch.linspace(0, 1, 8))
                assert isinstance(norm.running_mean, Tensor)
                norm.running_mean.copy_(torch.linspace(-0.2, 0.2, 8))

    def forward(self, images: Tensor) -> Tensor:
        hidden = torch.relu(self.norm(self.first(images)))
        hidden = torch.relu(self.other(self.second(hidden)))
        logits: Tensor = self.head(hidden.mean(dim=(2, 3)))
        return logits


def strings(message: Any) -> str:
    """All that a graph says, as text."""
    return str(message.SerializeToString())


@pytest.mark.slow
def test_graphs_say_nothing_of_the_machine_that_made_them(needs: Callable[[str], None]) -> None:
    needs("onnxruntime")
    proto = traced()
    said = strings(proto)
    here = Path(__file__).resolve()
    for path in (sys.prefix, str(Path.home()), str(here.parents[3]), "site-packages", ".py", "File ", "stack_trace"):
        assert path not in said, path
    graph = proto.graph
    assert not graph.value_info
    assert not any(holder.metadata_props or holder.doc_string for holder in (proto, graph, *graph.node))
    assert not proto.functions
    weights = sum(array.numel() * 4 for array in mixed().model.state_dict().values())
    assert len(proto.SerializeToString()) < weights + 3000  # names and nodes


def test_weights_keep_their_names_and_forms_in_the_tidied_graph(needs: Callable[[str], None]) -> None:
    needs("onnxruntime")
    graph = Graph(traced())
    for name, own in mixed().model.named_parameters():
        assert np.array_equal(graph.array(name), own.detach().numpy()), name
    kinds = {node.op_type for node in graph.proto.graph.node}
    assert not kinds & {"Constant", "CastLike", "Expand", "Shape"}


def test_caches_are_off_while_a_network_is_traced() -> None:
    model = nn.ModuleList([Half(), Half()])
    configs = [each.config for each in model if isinstance(each, Half)]
    configs[1].use_cache = None
    with as_traced(model):
        assert [each.use_cache for each in configs] == [False, None]
    assert [each.use_cache for each in configs] == [True, None]


def test_experts_are_traced_in_the_form_without_a_loop() -> None:
    model = Half()
    model.config._experts_implementation = "grouped_mm"
    with as_traced(model):
        assert model.config._experts_implementation == "batched_mm"
    assert model.config._experts_implementation == "grouped_mm"
    model.config._experts_implementation = None  # of a network without experts
    with as_traced(model):
        assert model.config._experts_implementation is None


class Choosy(nn.Module):
    """A network whose way depends on the numbers that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        output: Tensor = self.fc(inputs)
        return output if bool(inputs.sum() > 0) else -output


def test_networks_that_cannot_be_traced_are_refused_in_words(tmp_path: Path, needs: Callable[[str], None]) -> None:
    needs("onnxruntime")
    with pytest.raises(
        InvalidInput,
        match=r"^torch cannot make an ONNX graph of this Choosy \(.*\): what its forward does must not dep",
    ):
        export(
            Policy(("fc",), (Format.named("w8"),)),
            "onnxruntime",
            model=Choosy(),
            output=tmp_path / "made",
            batches=[torch.ones(2, 4)],
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_half_precision_and_norms_become_one_float32_graph_in_integers(
    tmp_path: Path, needs: Callable[[str], None]
) -> None:
    needs("onnxruntime")
    torch.manual_seed(0)
    model = Half().eval().bfloat16()
    images = torch.rand(4, 3, 8, 8).bfloat16()
    policy = Policy(("first", "second", "head"), tuple(map(Format.named, ("w8a8", "w8a8", "w8"))))
    report = export(policy, OnnxRuntime(), model=model, output=tmp_path / "made", batches=[images])
    assert "the network is in bfloat16; the graph computes in float32, and takes and gives float32" in report.notes
    assert model.config.use_cache
    policy = Policy.load(tmp_path / "made" / "policy.json")
    runtime, onnx = __import__("onnxruntime"), __import__("onnx")
    options = runtime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 3
    session = runtime.InferenceSession(tmp_path / "made" / "model.onnx", options, providers=["CPUExecutionProvider"])
    (got,) = session.run(None, {session.get_inputs()[0].name: images.float().numpy()})
    with torch.no_grad():
        wanted = apply(model.float(), policy)(images.float()).double().numpy()
    assert sqnr(wanted, got) > 30
    kinds = [node.op_type for node in onnx.load(tmp_path / "made" / "model.onnx").graph.node]
    assert kinds.count("BatchNormalization") == 1  # the one with a factor of 0, which leaves no scale
    held = {
        each.name: onnx.numpy_helper.to_array(each)
        for each in onnx.load(tmp_path / "made" / "model.onnx").graph.initializer
    }
    assert (held["second.weight_scale"] < 0).any()


def test_scales_are_multiplied_and_codes_stay() -> None:
    encoded = EncodedWeight(torch.tensor([[1, -2], [3, 4]]), torch.tensor([[0.5], [0.25]]))
    made = scaled(encoded, torch.tensor([-2.0, 3.0], dtype=torch.float64))
    assert isinstance(made, EncodedWeight)
    assert torch.equal(made.elements, encoded.elements)
    assert torch.equal(made.scales, torch.tensor([[-1.0], [0.75]]))
    values = OpaqueWeight(torch.ones(2, 2))
    assert scaled(values, torch.ones(2)) is values


def test_nothing_is_told_of_packages_that_nobody_needs(
    tmp_path: Path, needs: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    needs("onnxruntime")
    logger, levels = logging.getLogger("torch.onnx._internal.exporter._registration"), list[int]()
    before, write = logger.level, torch.onnx.export

    def watched(*arguments: Any, **named: Any) -> Any:
        levels.append(logger.level)
        return write(*arguments, **named)

    monkeypatch.setattr(torch.onnx, "export", watched)
    model = nn.Sequential(nn.Linear(4, 3)).eval()
    export(
        Policy(("0",), (Format.named("w8"),)), OnnxRuntime(), model=model, output=tmp_path, batches=[torch.rand(2, 4)]
    )
    assert levels == [logging.ERROR]
    assert logger.level == before
