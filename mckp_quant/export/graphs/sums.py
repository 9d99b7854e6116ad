"""What a policy does not round, rounded all the same: outputs of layers that are added up before the next layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ...common.packages import require
from ...formats.ranges import grid_of
from ...formats.schemes import ActivationScheme
from .graph import EXTRA, Graph
from .placing import CLIPS, eight_bits, makes_bytes, rounded_copy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from ...network.batch import Batch
    from ..contract import Job

_SCHEME = ActivationScheme(8)
PRECISE = ("session.x64quantprecision", "1")  # products that cannot overflow, whatever the processor


def round_outputs(graph: Graph, job: Job) -> tuple[str, ...]:
    """Round to eight bits what convolutions of eight-bit layers give, and what is added to it.

    These are the outputs that are added to something and nothing else. Their range is that on the batches, with inputs
    rounded. What is added to them, and rounded for a layer anyway, is taken as that layer takes it.

    Parameters
    ----------
    graph
        The graph, with rounded inputs and float weights; it is changed.
    job
        What is exported, with batches.

    Returns
    -------
    rounded
        The tensors that are rounded now.
    """
    from ...network.batches import as_batches

    wanted: list[str] = []
    for layer, entry in job.chosen:
        for node in graph.users(graph.weight_of(layer)) if eight_bits(entry) else ():
            tensor = _end(graph, node.output[0])
            readers = graph.readers(tensor) if tensor else []
            # Whatever else reads it may be a layer whose input the policy leaves as it is.
            added = bool(readers) and all(each.op_type == "Add" for each in readers)
            if node.op_type == "Conv" and added and tensor not in wanted:
                wanted.append(tensor)
    kind = require("onnx", EXTRA).TensorProto.UINT8
    for tensor, (low, high) in _ranges(graph, wanted, list(as_batches(job.batches, job.model))).items():
        name = f"{tensor}.rounded"
        readers = graph.readers(tensor)
        rounded_copy(graph, tensor, name, grid_of(low, high, _SCHEME), kind)
        for node in readers:
            node.input[:] = [name if each == tensor else each for each in node.input]
    for node in [each for each in graph.proto.graph.node if each.op_type == "Add"]:
        node.input[:] = [_copy_of(graph, each) or each for each in node.input]
    return tuple(wanted)


def outputs_of(proto: Any, batches: Sequence[Batch], tensors: Sequence[str] = ()) -> list[list[NDArray[Any]]]:
    """What ONNX Runtime makes of batches: for each of them the given tensors, or the graph's first output."""
    from torch import Tensor

    onnx, runtime = require("onnx", EXTRA), require("onnxruntime", EXTRA)
    made = onnx.ModelProto()
    made.CopyFrom(proto)
    known = {each.name for each in made.graph.output}
    made.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in tensors if name not in known)
    options = runtime.SessionOptions()
    options.add_session_config_entry(*PRECISE)
    session = runtime.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    found = []
    for batch in batches:
        given: Mapping[str, Tensor]
        given = {names[0]: batch.inputs} if isinstance(batch.inputs, Tensor) else batch.inputs
        feed = {name: given[name].detach().cpu().numpy() for name in names}
        found.append(session.run(list(tensors) or [made.graph.output[0].name], feed))
    return found


def distance(one: Any, other: Any, batches: Sequence[Batch]) -> float:
    """Decibels between the first outputs of two graphs on batches."""
    wanted, got = (np.concatenate([each[0].ravel() for each in outputs_of(proto, batches)]) for proto in (one, other))
    noise = float(((wanted.astype(float) - got) ** 2).sum())
    return float("inf") if noise == 0 else 10 * float(np.log10((wanted.astype(float) ** 2).sum() / noise))


def _end(graph: Graph, tensor: str) -> str:
    """The tensor behind the Relu or Clip that alone reads a tensor; empty where it is an output of the graph."""
    if any(each.name == tensor for each in graph.proto.graph.output):
        return ""
    readers = graph.readers(tensor)
    return _end(graph, readers[0].output[0]) if len(readers) == 1 and readers[0].op_type in CLIPS else tensor


def _ranges(graph: Graph, tensors: Sequence[str], batches: Sequence[Batch]) -> dict[str, tuple[float, float]]:
    found: dict[str, tuple[float, float]] = {}
    for values in outputs_of(graph.proto, batches, tensors) if tensors else ():
        for name, value in zip(tensors, values, strict=True):
            low, high = found.get(name, (0.0, 0.0))
            found[name] = (min(low, float(value.min())), max(high, float(value.max())))
    return found


def _copy_of(graph: Graph, tensor: str) -> str | None:
    """The eight-bit copy of a tensor that a layer takes, if there is one."""
    for node in graph.readers(tensor):
        if node.op_type == "QuantizeLinear" and makes_bytes(graph, node):
            return str(graph.readers(node.output[0])[0].output[0])
    return None
