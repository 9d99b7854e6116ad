"""ONNX Runtime: weights as initializers behind DequantizeLinear, inputs behind QuantizeLinear and DequantizeLinear."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from ...common.packages import require
from ...errors import InvalidInput
from ..graphs.graph import EXTRA, MODEL, Graph
from ..graphs.placing import quantize_inputs, quantize_weight
from ..graphs.preparing import prepared
from ..graphs.tracing import float_graph
from ..readers.from_onnx import load, stored_layers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ...policy.policy import Policy
    from ..contract import Job, Stored


@dataclass(frozen=True)
class OnnxRuntime:
    """Writes ``model.onnx``, opset 21, from a network and one example batch.

    Weights are stored in the integers that were measured, batch norms in the layers before them. Static formats of
    inputs take the ranges of the policy, or those of `calibrate_ranges` on the batches.
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

        job = replace(module_job(policy, model, batches), form=prepared)
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
        # Inputs first: whether a layer may compute in integers depends on who reads what it makes.
        for layer, entry in job.chosen:
            if ranges is not None and entry.activation_scheme is not None:
                quantize_inputs(graph, layer, entry.activation_scheme, ranges)
        for layer, entry in job.coded:
            quantize_weight(graph, job.encoded(layer), entry, layer)
        require("onnx", EXTRA).save(graph.proto, folder / MODEL)
        return (*job.notes, *_notes(job))

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
