"""ONNX Runtime for transformers: linear layers as MatMulNBits, with the groups that were measured."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ...common.packages import require
from ...errors import InvalidInput
from ..graphs.graph import EXTRA, MODEL, Graph, pack
from ..graphs.preparing import beside_the_file, check_example, graph_job
from ..graphs.tracing import float_graph
from ..readers.from_onnx import load, stored_layers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import torch

    from ...formats.format import Format
    from ...layers import Layer
    from ...policy.policy import Policy
    from ...rounding.encoded import StoredWeight
    from ..contract import Job, Stored


@dataclass(frozen=True)
class OnnxRuntimeNBits:
    """Writes ``model.onnx`` with ``com.microsoft.MatMulNBits`` nodes, which compute in floating point."""

    name: ClassVar[str] = "onnxruntime_nbits"
    packages: ClassVar[tuple[str, ...]] = ("torch", "onnx", "onnxscript", "onnxruntime")
    extra: ClassVar[str | None] = EXTRA
    container: ClassVar[str] = "scales have the type of the network, and last groups are padded"
    file: ClassVar[str] = MODEL

    @property
    def capability(self) -> str:
        """The row of `capabilities.TARGETS`."""
        return "onnxruntime_nbits"

    def prepare(self, policy: Policy, model: Any, batches: Sequence[object]) -> Job:
        """The policy's layers in a network; raises InvalidInput where one is not there."""
        return graph_job(self.name, policy, model, batches)

    def check(self, job: Job) -> None:
        """Refuse a job without an example input; raises InvalidInput."""
        check_example(self.name, job)

    def write(self, job: Job, folder: Path) -> tuple[str, ...]:
        """Export the float graph and replace the policy's layers."""
        proto = self.graph(float_graph(job.model, job.batches), job)
        require("onnx", EXTRA).save(proto, folder / MODEL)
        return (*job.notes, *beside_the_file(job, proto))

    def graph(self, traced: Any, job: Job) -> Any:
        """A copy of the float graph with the policy of a job in it."""
        graph = Graph(copy.deepcopy(traced))
        for layer, entry in job.chosen:
            name = graph.weight_of(layer)
            _replace(graph, job.encoded(layer), job.weight(layer.name).dtype, name, entry, layer)
        graph.prune()
        if not any(each.domain == "com.microsoft" for each in graph.proto.opset_import):
            graph.proto.opset_import.append(require("onnx", EXTRA).helper.make_opsetid("com.microsoft", 1))
        return graph.proto

    def read(self, folder: Path, job: Job) -> Mapping[str, Stored]:
        """Read the graph again, and let the runtime load it."""
        from ..sources import check_named

        require("onnxruntime", EXTRA).InferenceSession(folder / MODEL, providers=["CPUExecutionProvider"])
        graph = load(folder / MODEL)
        check_named(self.name, graph, job)
        found = stored_layers(graph)
        return {**found, **_turned(found, job)}


def _turned(found: Mapping[str, Stored], job: Job) -> dict[str, Stored]:
    """Weights of ``(in, out)``, which the nodes hold as ``(out, in)``, as the network holds them."""
    from ...rounding.rows import OUTPUTS_LAST

    chosen = [layer.name for layer, _ in job.chosen if layer.kind in OUTPUTS_LAST and layer.name in found]
    weights = {name: found[name].weight for name in chosen}
    return {name: replace(found[name], weight=each.t()) for name, each in weights.items() if each is not None}


def _replace(graph: Graph, encoded: StoredWeight, dtype: torch.dtype, name: str, entry: Format, layer: Layer) -> None:
    """Every MatMul or Gemm with the weight becomes a MatMulNBits; raises InvalidInput where other nodes have it."""
    from ..codes import codes_of

    users = graph.users(name)
    odd = next((node for node in users if not _is_product(graph, node, name)), None)
    if odd is not None:
        raise InvalidInput(
            f"onnxruntime_nbits cannot take layer {layer.name!r}: its weight is used by the node {odd.name!r}, a "
            f"{odd.op_type}, which no MatMulNBits can stand for; pin the layer to 'float', or export to onnxruntime"
        )
    codes = codes_of(encoded, entry, layer)
    rows, columns = layer.known_channels, layer.row
    size = entry.group_size or columns
    middle = 2 ** (codes.bits - 1)
    padded = np.zeros((rows, -(-columns // size) * size), dtype=np.int16)
    padded[:, :columns] = codes.integers.cpu().numpy()
    blocks = (padded + middle).reshape(rows, -1, size)
    inputs = [
        graph.add(f"{name}_quantized", pack(blocks, codes.bits)),
        graph.add(f"{name}_scale", codes.scales.to(dtype).cpu().numpy()),
    ]
    if not entry.symmetric:
        zeros = codes.zero_points.cpu().numpy().astype(np.int16) + middle
        inputs.append(graph.add(f"{name}_zero_point", pack(zeros, codes.bits)))
    for node in users:
        bias = [node.input[2]] if node.op_type == "Gemm" and len(node.input) > 2 else []
        taken = [node.input[0], *inputs, *[""] * (5 - 1 - len(inputs)), *bias] if bias else [node.input[0], *inputs]
        graph.insert(
            "MatMulNBits",
            taken,
            node.output[0],
            node,
            domain="com.microsoft",
            K=columns,
            N=rows,
            bits=codes.bits,
            block_size=size,
        )
        graph.proto.graph.node.remove(node)


def _is_product(graph: Graph, node: Any, weight: str) -> bool:
    """Whether a node gives nothing but the products of its first input with the rows of a weight, and a bias."""
    said = {each.name: each for each in node.attribute}
    plain = not ("transA" in said and said["transA"].i) and all(
        name not in said or said[name].f == 1 for name in ("alpha", "beta")
    )
    right = graph.source(node.input[0]) != weight
    return node.op_type in ("MatMul", "Gemm") and plain and right and not graph.in_body(node)
