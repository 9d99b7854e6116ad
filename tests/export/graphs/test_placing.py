from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from mckp_quant import Format, Layer
from mckp_quant.export.graphs.graph import Graph
from mckp_quant.export.graphs.placing import quantize_inputs, quantize_weight
from mckp_quant.export.graphs.sums import distance, outputs_of, round_outputs
from mckp_quant.export.readers.from_onnx import stored_layers
from mckp_quant.formats.ranges import ActivationRanges
from mckp_quant.network.batch import Batch
from mckp_quant.rounding import EncodedWeight
from mckp_quant.rounding.encoded import decode_weight
from mckp_quant.rounding.rounders.nearest import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

WIDTH = 8
SIZE = 6
Node = tuple[str, list[str], str, dict[str, Any]]


@dataclass(frozen=True)
class FakeJob:
    """As much of a job as rounding outputs needs."""

    chosen: list[tuple[Layer, Format]]
    batches: Sequence[Batch]
    model: Any = None


def batch() -> Batch:
    images = torch.rand(3, WIDTH, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    return Batch(images, None, 3)


def graph_of(nodes: Sequence[Node], weights: Sequence[str], **scalars: float) -> Graph:
    """Convolutions of three by three, each from `WIDTH` channels to as many, and what else is asked for."""
    onnx: Any = pytest.importorskip("onnx")
    helper = onnx.helper
    rng = np.random.default_rng(0)
    held = {f"{name}.weight": rng.normal(size=(WIDTH, WIDTH, 3, 3)).astype(np.float32) / 9 for name in weights}
    held |= {f"{name}.bias": rng.normal(size=WIDTH).astype(np.float32) / 9 for name in weights}
    held |= {name: np.array(value, dtype=np.float32) for name, value in scalars.items()}
    made = [helper.make_node(kind, inputs, [output], **attributes) for kind, inputs, output, attributes in nodes]
    shape = [None, WIDTH, SIZE, SIZE]
    proto = helper.make_model(
        helper.make_graph(
            made,
            "graph",
            [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
            [onnx.numpy_helper.from_array(array, name) for name, array in held.items()],
        ),
        opset_imports=[helper.make_opsetid("", 21)],
        ir_version=10,
    )
    return Graph(proto)


def conv(name: str, source: str, output: str) -> Node:
    return ("Conv", [source, f"{name}.weight", f"{name}.bias"], output, {"pads": [1, 1, 1, 1]})


CHAIN = [conv("a", "x", "a"), ("Relu", ["a"], "r", {}), conv("b", "r", "y")]
RESIDUAL = [
    *CHAIN[:2],
    conv("b", "r", "b"),
    ("Add", ["r", "b"], "s", {}),
    ("Relu", ["s"], "t", {}),
    conv("c", "t", "y"),
]


def layer(name: str) -> Layer:
    return Layer(name, "conv2d", (WIDTH, WIDTH, 3, 3), WIDTH, 0)


def drawn(entry: Format, seed: int) -> EncodedWeight:
    """Large codes next to each other, whose products overflow sixteen bits where they can."""
    rng = np.random.default_rng(seed)
    most = 2 ** (entry.weight_bits - 1) - 1
    codes = rng.choice([most, most - 1, most, -most], size=(WIDTH, WIDTH * 9), p=[0.4, 0.3, 0.2, 0.1]).astype(np.int8)
    scales = rng.uniform(0.5, 1, (WIDTH, 1)).astype(np.float32) / (most * 60)
    scales[::3] *= -1  # of a norm with a negative factor
    if entry.granularity == "tensor":
        scales = scales[1:2]
    return EncodedWeight(torch.from_numpy(codes), torch.from_numpy(scales))


def quantised(nodes: Sequence[Node], formats: dict[str, str], *, signed: bool = False) -> Graph:
    """The graph with a format for each of its layers."""
    graph = graph_of(nodes, list(formats), six=6.0, zero=0.0)
    entries = {name: Format.named(each) for name, each in formats.items()}
    ranges = ActivationRanges(
        "minmax",
        1,
        {
            (name, entry.activation_scheme.name): (-0.5, 4.0) if name == "a" else (0.0, 5.0)
            for name, entry in entries.items()
            if entry.activation_scheme is not None
        },
    )
    for name, entry in entries.items():
        if entry.activation_scheme is not None:
            quantize_inputs(graph, layer(name), entry.activation_scheme, ranges)
    for at, (name, entry) in enumerate(entries.items()):
        if entry.name != "float":
            quantize_weight(graph, drawn(entry, at), entry, layer(name), signed=signed)
    return graph


def run(graph: Graph, folder: Path, level: int = 99) -> tuple[np.ndarray[Any, Any], Counter[str]]:
    """The outputs, and the kernels that computed them."""
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = runtime.GraphOptimizationLevel(level)
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    session = runtime.InferenceSession(graph.proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    inputs = batch().inputs
    assert isinstance(inputs, torch.Tensor)
    (output,) = session.run(None, {"x": inputs.numpy()})
    return output, Counter(node.op_type for node in onnx.load(folder / "optimised.onnx").graph.node)


def off(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> float:
    return float(np.abs(one - other).max() / np.abs(one).max())


FORMATS = ("w8a8", "w8a8s", "w4a8", "w8a4", "w8a4s", "w4a4", "w8a16", "w8", "w4", "w8t", "float")


@pytest.mark.parametrize("first", FORMATS)
@pytest.mark.parametrize("second", ["w8a8", "w8a8s", "w8a4s", "w8a4", "w8a16", "w4"])
def test_the_optimised_graph_computes_what_the_written_one_says(first: str, second: str, tmp_path: Path) -> None:
    graph = quantised(CHAIN, {"a": first, "b": second})
    written, _ = run(graph, tmp_path, level=0)
    optimised, kernels = run(graph, tmp_path)
    # An input of b on a border may be another code: a step of four bits is much.
    assert off(written, optimised) < 0.03 if "a4" in second else off(written, optimised) < 2e-3
    assert (kernels["QLinearConv"] == 1) == (first in ("w8a8", "w8a8s", "w4a8") and second == "w8a8")
    found = stored_layers(graph)
    assert [found[name].format.name for name in "ab"] == [first, second]


@pytest.mark.parametrize("between", [["MaxPool"], ["Clip"], ["Relu", "MaxPool"]])
def test_what_stands_between_two_layers_is_a_part_of_the_rounding(between: list[str], tmp_path: Path) -> None:
    nodes, source = [conv("a", "x", "a")], "a"
    for at, kind in enumerate(between):
        inputs = [source, "zero", "six"] if kind == "Clip" else [source]
        nodes.append((kind, inputs, f"m{at}", {"kernel_shape": [2, 2]} if kind == "MaxPool" else {}))
        source = f"m{at}"
    graph = quantised([*nodes, conv("b", source, "y")], {"a": "w8a8", "b": "w8a8"})
    optimised, kernels = run(graph, tmp_path)
    assert kernels["QLinearConv"] == 1
    assert off(run(graph, tmp_path, level=0)[0], optimised) < 2e-3


def test_weights_alone_are_as_fast_as_float_ones(tmp_path: Path) -> None:
    for formats in ({"a": "w8", "b": "w4"}, {"a": "w8t", "b": "w8"}, {"a": "w8a8", "b": "w8", "c": "w8"}):
        nodes = CHAIN if len(formats) == 2 else RESIDUAL
        _, kernels = run(quantised(nodes, formats), tmp_path)
        assert not kernels["Mul"] + kernels["Cast"]  # computed once, when the graph was loaded
        assert kernels["DequantizeLinear"] == (0 if len(formats) == 2 else 1)  # of the input of a


def test_layers_that_read_one_tensor_share_its_rounded_copy() -> None:
    nodes = [*CHAIN[:2], conv("b", "r", "b"), conv("c", "r", "c"), ("Add", ["b", "c"], "y", {})]
    for name in ("w8a8", "w8a8s"):
        graph = quantised(nodes, {"a": "w8", "b": name, "c": name})
        assert [node.op_type for node in graph.proto.graph.node].count("QuantizeLinear") == 1


def test_symmetric_codes_have_no_number_below_the_least_that_is_simulated(tmp_path: Path) -> None:
    graph = quantised([conv("a", "x", "y")], {"a": "w8a4s"})
    node = next(each for each in graph.proto.graph.node if each.op_type == "Max")
    scale = float(graph.array(next(iter(name for name in graph.initializers if name.endswith("_scale")))))
    assert float(graph.array(node.input[1])) == pytest.approx(-7 * scale)
    assert run(graph, tmp_path)[1]["Max"] == 1


def test_signed_weights_are_those_that_overflow_without_the_session_option(tmp_path: Path) -> None:
    unsigned, signed = (quantised(CHAIN, {"a": "w8a8", "b": "w8a8"}, signed=each) for each in (False, True))
    kinds = __import__("onnx").TensorProto
    for graph, kind in ((unsigned, kinds.UINT8), (signed, kinds.INT8)):
        assert graph.initializers["a.weight_quantized"].data_type == kind
        assert run(graph, tmp_path)[1]["QLinearConv"] == 1
    # Both say the same weights, and the option makes both compute the same.
    ours, theirs = stored_layers(unsigned)["a"], stored_layers(signed)["a"]
    assert isinstance(ours.codes, EncodedWeight)
    assert isinstance(theirs.codes, EncodedWeight)
    assert torch.equal(ours.codes.elements, theirs.codes.elements)
    assert ours.nbytes == theirs.nbytes == WIDTH * WIDTH * 9 + 4 * WIDTH
    assert off(run(unsigned, tmp_path, level=0)[0], outputs_of(signed.proto, [batch()])[0][0]) < 2e-3
    mixed = quantised(CHAIN, {"a": "w8a8", "b": "w4a8"}, signed=True)  # a kernel, and weights that stay as they are
    assert off(run(mixed, tmp_path, level=0)[0], outputs_of(mixed.proto, [batch()])[0][0]) < 2e-3
    three = [*CHAIN[:2], conv("b", "r", "b"), ("Relu", ["b"], "t", {}), conv("c", "t", "y")]
    alike = quantised(three, dict.fromkeys("abc", "w8a8"), signed=True)
    assert off(run(alike, tmp_path, level=0)[0], outputs_of(alike.proto, [batch()])[0][0]) < 2e-3


def test_sums_are_rounded_where_that_is_asked_for(tmp_path: Path) -> None:
    formats = dict.fromkeys("abc", "w8a8")
    plain = quantised(RESIDUAL, formats)
    graph = graph_of(RESIDUAL, list(formats))
    entry = Format.named("w8a8")
    assert entry.activation_scheme is not None
    ranges = ActivationRanges("minmax", 1, {("a", "a8"): (-0.5, 4.0), ("b", "a8"): (0.0, 5.0), ("c", "a8"): (0.0, 5.0)})
    for name in formats:
        quantize_inputs(graph, layer(name), entry.activation_scheme, ranges)
    job: Any = FakeJob([(layer(name), entry) for name in formats], [batch()])
    assert round_outputs(graph, job) == ("b",)
    for at, name in enumerate(formats):
        quantize_weight(graph, drawn(entry, at), entry, layer(name))
    assert run(plain, tmp_path)[1]["QLinearConv"] == 0  # a's output is added to, b's is added
    assert run(graph, tmp_path)[1]["QLinearConv"] == 2
    assert distance(plain.proto, plain.proto, [batch()]) == float("inf")
    assert [stored_layers(graph)[name].format.name for name in formats] == ["w8a8"] * 3


def test_the_next_layer_with_a_float_input_keeps_it() -> None:
    nodes = [*RESIDUAL[:3], ("Relu", ["b"], "q", {}), conv("c", "q", "y")]
    graph = graph_of(nodes, list("abc"))
    job: Any = FakeJob([(layer(name), Format.named("w8a8")) for name in "ab"], [batch()])
    assert round_outputs(graph, job) == ()


@pytest.mark.parametrize(
    ("name", "kind"),
    [*((name, "experts") for name in ("w4", "w8", "w8t", "float")), ("w4", "experts_transposed")],
)
def test_experts_that_are_looked_up_have_a_scale_for_each_output_of_each(name: str, kind: str) -> None:
    onnx: Any = pytest.importorskip("onnx")
    helper, experts = onnx.helper, (3, 4, 5)
    weight = np.random.default_rng(0).normal(size=experts).astype(np.float32)
    graph = Graph(
        helper.make_model(
            helper.make_graph(
                [helper.make_node("GatherND", ["m.up_proj", "chosen"], ["y"])],
                "graph",
                [helper.make_tensor_value_info("chosen", onnx.TensorProto.INT64, [None, 1])],
                [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
                [onnx.numpy_helper.from_array(weight, "m.up_proj")],
            )
        )
    )
    entry, row = Format.named(name), Layer("m.up_proj", kind, experts, 12 if kind == "experts" else 15, 0)
    if name == "float":
        found = stored_layers(graph)["m.up_proj"]
        assert found.weight is not None
        assert np.array_equal(found.weight.numpy(), weight)
        return
    encoded = nearest(torch.from_numpy(weight), entry, row)
    assert isinstance(encoded, EncodedWeight)
    quantize_weight(graph, encoded, entry, row)
    found = stored_layers(graph)["m.up_proj"]
    assert found.format.name == name
    assert found.nbytes == entry.storage_bytes(row)
    assert isinstance(found.codes, EncodedWeight)
    assert torch.equal(found.codes.elements.double(), encoded.elements.double())
    assert found.weight is not None
    assert torch.allclose(found.weight.double(), decode_weight(encoded, entry, row).double(), rtol=1e-6)


@pytest.fixture(autouse=True)
def _installed(needs: Callable[[str], None]) -> None:
    needs("onnxruntime")
