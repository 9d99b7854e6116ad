"""ONNX Runtime: weights as initializers behind DequantizeLinear, inputs behind QuantizeLinear and DequantizeLinear."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ...common.packages import require
from ...errors import InvalidInput
from ...formats.ranges import grid_of
from ..graphs.graph import EXTRA, MODEL, Graph
from ..graphs.tracing import float_graph
from ..readers.from_onnx import load, stored_layers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ...formats.format import Format
    from ...formats.ranges import ActivationRanges
    from ...layers import Layer
    from ...policy.policy import Policy
    from ...rounding.encoded import StoredWeight
    from ..contract import Job, Stored


@dataclass(frozen=True)
class OnnxRuntime:
    """Writes ``model.onnx``, opset 21, from a network and one example batch.

    Weights are stored in the integers that were measured. Static formats of inputs take the ranges of the policy, or
    those of `calibrate_ranges` on the batches.
    """

    name: ClassVar[str] = "onnxruntime"
    packages: ClassVar[tuple[str, ...]] = ("torch", "onnx", "onnxscript", "onnxruntime")
    extra: ClassVar[str | None] = EXTRA
    container: ClassVar[str] = ""

    @property
    def capability(self) -> str:
        """The row of `capabilities.TARGETS`."""
        return "onnxruntime"

    def prepare(self, policy: Policy, model: Any, batches: Sequence[object]) -> Job:
        """The policy's layers in a network, and ranges that it lacks; raises InvalidInput where one is not there."""
        from ..sources import module_job

        job = module_job(policy, model, batches)
        wanted = [
            entry
            for _, entry in job.chosen
            if entry.activation_scheme is not None and entry.activation_scheme.calibrated
        ]
        if not wanted or not batches or policy.ranges is not None:
            return job
        from ...rounding.calibration import calibrate_ranges

        return replace(
            job, policy=replace(policy, ranges=calibrate_ranges(model, batches, list(dict.fromkeys(wanted))))
        )

    def check(self, job: Job) -> None:
        """Refuse a job without an example input; raises InvalidInput."""
        if not job.batches:
            raise InvalidInput("onnxruntime traces the network: give batches=[...], of which the first is enough")

    def write(self, job: Job, folder: Path) -> tuple[str, ...]:
        """Export the float graph and put the policy into it."""
        graph = Graph(float_graph(job.model, job.batches))
        ranges = job.policy.ranges
        for layer, entry in job.chosen:
            weight = graph.weight_of(layer)
            if ranges is not None and entry.activation_scheme is not None:
                _quantize_inputs(graph, layer, weight, entry, ranges)
            if entry.weight_scheme is not None:
                _quantize_weight(graph, job.encoded(layer), weight, entry, layer)
        require("onnx", EXTRA).save(graph.proto, folder / MODEL)
        return _notes(job)

    def read(self, folder: Path, job: Job) -> Mapping[str, Stored]:
        """Read the graph again, and let the runtime load it."""
        from ..sources import check_named

        runtime = require("onnxruntime", EXTRA)
        runtime.InferenceSession(folder / MODEL, providers=["CPUExecutionProvider"])
        graph = load(folder / MODEL)
        check_named(self.name, graph, job)
        return stored_layers(graph)


def _notes(job: Job) -> tuple[str, ...]:
    if any(
        entry.weight_bits == 8 and entry.activation_scheme is None
        for layer, entry in job.chosen
        if layer.kind == "linear"
    ):
        return (
            "by default ONNX Runtime computes MatMul with eight-bit weights on inputs rounded to eight bits; the "
            "session option session.qdq_matmulnbits_accuracy_level = 1 keeps them in floating point",
        )
    return ()


def _quantize_weight(graph: Graph, encoded: StoredWeight, name: str, entry: Format, layer: Layer) -> None:
    """The float initializer becomes integers, a scale, and a node that makes what was there under the same name."""
    from ..codes import codes_of

    codes = codes_of(encoded, entry, layer)
    integers = codes.integers.reshape(layer.shape).cpu().numpy()
    scales = codes.scales.reshape(-1).cpu().numpy()
    before = graph.first_user(name)
    graph.remove(name)
    inputs = [
        graph.add(f"{name}_quantized", integers, 4 if entry.weight_bits == 4 else None),
        graph.add(f"{name}_scale", scales.reshape(()) if entry.granularity == "tensor" else scales),
    ]
    axis = {} if entry.granularity == "tensor" else {"axis": 0}
    graph.insert("DequantizeLinear", inputs, name, before, **axis)


def _quantize_inputs(graph: Graph, layer: Layer, weight: str, entry: Format, ranges: ActivationRanges) -> None:
    """Every node that computes with the weight takes its input from a rounded copy."""
    scheme = entry.activation_scheme
    if scheme is None:
        return
    grid = grid_of(*ranges.of(layer.name, scheme), scheme)
    kind = getattr(require("onnx", EXTRA).TensorProto, f"{'' if scheme.symmetric else 'U'}INT{scheme.bits}")
    for node in graph.users(weight):
        source = node.input[0]
        name = f"{layer.name}.input_{scheme.name}.{source}"
        if f"{name}_scale" not in graph.initializers:
            scale = graph.add(f"{name}_scale", np.array(grid.scale, dtype=np.float32))
            zero = graph.add_scalar(f"{name}_zero_point", grid.zero_point, kind)
            graph.insert("QuantizeLinear", [source, scale, zero], f"{name}_quantized", node)
            graph.insert("DequantizeLinear", [f"{name}_quantized", scale, zero], name, node)
        node.input[0] = name
