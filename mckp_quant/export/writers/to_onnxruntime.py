"""ONNX Runtime: weights as initializers behind DequantizeLinear, inputs behind QuantizeLinear and DequantizeLinear."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from ...common.packages import require
from ..graphs.graph import EXTRA, MODEL, Graph
from ..graphs.placing import quantize_inputs, quantize_weight
from ..graphs.preparing import beside_the_file, check_example, graph_job
from ..graphs.sums import PRECISE, distance, round_outputs
from ..graphs.tracing import float_graph
from ..readers.from_onnx import load, stored_layers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ...network.batch import Batch
    from ...policy.policy import Policy
    from ..contract import Job, Stored


@dataclass(frozen=True)
class OnnxRuntime:
    """Writes ``model.onnx``, opset 21, from a network and one example batch, or from an ONNX file.

    Weights are stored in the integers that were measured, batch norms in the layers before them. Static formats of
    inputs take the ranges of the policy, or those of `calibrate_ranges` on the batches.

    Attributes
    ----------
    signed
        Whether integer operations take weights with a sign, which is faster where the processor has VNNI or is an ARM.
        Without VNNI their sums overflow, and outputs are wrong unless the session option ``session.x64quantprecision``
        is ``"1"``.
    sums
        Whether what convolutions give is rounded to eight bits even where no next layer asks for that, and so are sums
        with it, as in residual networks: more of the network computes in integers. The policy does not round that, and
        its prediction does not count it; the report says how far the outputs are from those without.
    """

    signed: bool = False
    sums: bool = False

    name: ClassVar[str] = "onnxruntime"
    packages: ClassVar[tuple[str, ...]] = ("torch", "onnx", "onnxscript", "onnxruntime")
    extra: ClassVar[str | None] = EXTRA
    container: ClassVar[str] = ""
    file: ClassVar[str] = MODEL

    @property
    def capability(self) -> str:
        """The row of `capabilities.TARGETS`."""
        return "onnxruntime"

    def prepare(self, policy: Policy, model: Any, batches: Sequence[object]) -> Job:
        """The policy's layers in a network, and ranges that it lacks; raises InvalidInput where one is not there."""
        job = graph_job(self.name, policy, model, batches)
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
        check_example(self.name, job)

    def write(self, job: Job, folder: Path) -> tuple[str, ...]:
        """Export the float graph and put the policy into it."""
        traced = float_graph(job.model, job.batches)
        proto, rounded = self._quantized(traced, job, sums=self.sums)
        require("onnx", EXTRA).save(proto, folder / MODEL)
        notes = _overflow() if self.signed else ()
        if rounded:
            plain, _ = self._quantized(traced, job, sums=False)
            notes = (*notes, _beyond(rounded, distance(plain, proto, _read(job))))
        return (*job.notes, *notes, *beside_the_file(job, proto))

    def graph(self, traced: Any, job: Job) -> Any:
        """A copy of the float graph with the policy of a job in it."""
        return self._quantized(traced, job, sums=self.sums)[0]

    def _quantized(self, traced: Any, job: Job, *, sums: bool) -> tuple[Any, tuple[str, ...]]:
        """A copy of the float graph with the policy in it, and the tensors that are rounded beyond the policy."""
        graph, ranges = Graph(copy.deepcopy(traced)), job.policy.ranges
        # Inputs first: whether a layer may compute in integers depends on who reads what it makes.
        for layer, entry in job.chosen:
            if ranges is not None and entry.activation_scheme is not None:
                quantize_inputs(graph, layer, entry.activation_scheme, ranges)
        rounded = round_outputs(graph, job) if sums else ()
        for layer, entry in job.coded:
            quantize_weight(graph, job.encoded(layer), entry, layer, signed=self.signed)
        return graph.proto, rounded

    def read(self, folder: Path, job: Job) -> Mapping[str, Stored]:
        """Read the graph again, and let the runtime load it."""
        from ...rounding.rows import OUTPUTS_LAST
        from ..sources import check_named

        runtime = require("onnxruntime", EXTRA)
        runtime.InferenceSession(folder / MODEL, providers=["CPUExecutionProvider"])
        graph = load(folder / MODEL)
        check_named(self.name, graph, job)
        found = stored_layers(graph)
        # With one scale for all of it nothing in a graph says in which order the rows of a weight are.
        unsaid = [
            layer.name
            for layer, entry in job.chosen
            if layer.kind in OUTPUTS_LAST and entry.granularity == "tensor" and layer.name in found
        ]
        return {**found, **{name: replace(found[name], codes=None) for name in unsaid}}


def _read(job: Job) -> list[Batch]:
    from ...network.batches import as_batches

    return list(as_batches(job.batches, job.model))


def _overflow() -> tuple[str, ...]:
    return (
        "integer operations take weights with a sign: on an x86 processor without VNNI set the session option "
        f"{PRECISE[0]} = {PRECISE[1]}, or outputs are wrong",
    )


def _beyond(rounded: Sequence[str], decibels: float) -> str:
    return (
        f"what {len(rounded)} layers give is rounded to eight bits, which the policy does not ask for and its "
        f"prediction does not count: on the batches outputs lie {decibels:.1f} dB above their difference from those "
        "without"
    )
