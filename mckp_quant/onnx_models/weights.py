"""The weights of an ONNX graph as layers: which initializers are multiplied with what comes in, and how they lie."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..common.packages import require
from ..layers import Layer
from .lifting import EXTRA, nodes_in, rename

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

_CONVOLUTIONS = ("Conv", "FusedConv")
_MATRICES = ("Gemm", "FusedGemm", "MatMul")
_RECURRENT = {"LSTM": 4, "GRU": 3, "RNN": 1}  # gates: rows of the weight for each number that comes out
_SORTED = ("Concat", "Slice", "Split", "Squeeze", "Unsqueeze", "Identity")  # how rows get into the order of gates
_SUFFIX = re.compile(r"(\.weight)?(_DQ)?(_quantized|_Q\d+(G\d+)?)?$")


@dataclass(frozen=True)
class OnnxWeight:
    """An initializer that gets a format.

    Attributes
    ----------
    layer
        The facts. Its shape has the output channels first, as in PyTorch; its operations are not known yet.
    place
        The initializer's name.
    stored
        The initializer's shape.
    order
        The axes of the initializer in the order in which the layer has them.
    output
        The tensor that the first node that uses it makes.
    gates
        How many rows of the weight make one number of `output`: four in an LSTM.
    inside
        Whether that node stands in a body, whose tensors cannot be watched.
    """

    layer: Layer
    place: str
    stored: tuple[int, ...]
    order: tuple[int, ...]
    output: str
    gates: int = 1
    inside: bool = False

    def as_layer(self, stored: NDArray[Any]) -> NDArray[Any]:
        """The initializer's numbers in the layer's shape."""
        import numpy as np

        return np.ascontiguousarray(stored.transpose(self.order)).reshape(self.layer.shape)

    def as_stored(self, weight: NDArray[Any]) -> NDArray[Any]:
        """Undo `as_layer`."""
        import numpy as np

        turned = weight.reshape([self.stored[axis] for axis in self.order])
        return np.ascontiguousarray(turned.transpose(np.argsort(self.order)))


def layer_name(place: str) -> str:
    """The layer that a weight belongs to: the weight's name without ``.weight`` and what quantisers append."""
    return _SUFFIX.sub("", place, count=1)


def weights_in(proto: Any) -> tuple[OnnxWeight, ...]:
    """Find the float weights of a graph.

    Parameters
    ----------
    proto
        A model in the form of `lifted`.

    Returns
    -------
    weights
        In the order in which nodes use them: those of convolutions, matrix products, recurrent layers and look-ups. An
        initializer that several nodes use is one, and lies as the first of them takes it.
    """
    kinds = require("onnx", EXTRA).TensorProto
    floats = {
        each.name: tuple(each.dims)
        for each in proto.graph.initializer
        if len(each.dims) > 1 and math.prod(each.dims) and each.data_type in (kinds.FLOAT, kinds.FLOAT16, kinds.DOUBLE)
    }
    outer = {name for node in proto.graph.node for name in node.output}
    makers = {name: node for node in nodes_in(proto.graph) for name in node.output if name}
    found: dict[str, OnnxWeight] = {}
    named: set[str] = set()
    for node in nodes_in(proto.graph):
        for at in _places(node.op_type):
            if at >= len(node.input):
                continue
            place, order = _source(node.input[at], makers, floats)
            if node.op_type in _RECURRENT and place not in floats:
                place = _only_source(node.input[at], makers, floats)
                order = (0, 1)
            if place in found or place not in floats:
                continue
            made = _weight(node, at, floats[place], order)
            if made is None:
                continue
            kind, shape, channels, axes, gates = made
            name = layer_name(place)
            name = name if name not in named and place in (name, f"{name}.weight") else place
            named.add(name)
            layer = Layer(name, kind, shape, channels, None)
            inside = not set(node.output) & outer
            found[place] = OnnxWeight(layer, place, floats[place], axes, _made(node), gates, inside)
    return tuple(found.values())


def orient(proto: Any, weights: tuple[OnnxWeight, ...], arrays: Mapping[str, NDArray[np.generic]]) -> None:
    """Let a graph hold its weights as the layers have them, and bring them into their own form by nodes of it.

    Parameters
    ----------
    proto
        A model in the form of `lifted`; it is changed, and computes the same.
    weights
        Its weights.
    arrays
        Their numbers in the layers' shapes, by the names of the initializers.
    """
    onnx = require("onnx", EXTRA)
    initializers = {each.name: each for each in proto.graph.initializer}
    nodes, renamed = [], {}
    for each in weights:
        turned = tuple(each.stored[axis] for axis in each.order)
        plain = each.order == tuple(range(len(each.order)))
        if plain and turned == each.layer.shape and not each.inside:
            continue
        place, used = each.place, f"{each.place}_as_used"
        initializers[place].CopyFrom(onnx.numpy_helper.from_array(arrays[place], place))
        renamed[place] = used
        steps: list[tuple[str, list[str], dict[str, Any]]] = []
        if turned != each.layer.shape:
            shape = onnx.numpy_helper.from_array(_whole(turned), f"{place}_shape")
            proto.graph.initializer.append(shape)
            steps.append(("Reshape", [shape.name], {}))
        if not plain:
            steps.append(("Transpose", [], {"perm": [each.order.index(axis) for axis in range(len(each.order))]}))
        source = place
        for number, (kind, more, attributes) in enumerate(steps or [("Identity", [], {})], 1):
            made = used if number >= len(steps) else f"{used}_{number}"
            nodes.append(onnx.helper.make_node(kind, [source, *more], [made], name=made, **attributes))
            source = made
    rename(proto.graph, renamed)
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in proto.graph.node]
    del proto.graph.node[:]
    proto.graph.node.extend([*nodes, *kept])


def _whole(shape: tuple[int, ...]) -> NDArray[np.int64]:
    import numpy as np

    return np.array(shape, dtype=np.int64)


def _places(kind: str) -> tuple[int, ...]:
    """Which inputs of a node may be weights."""
    if kind in (*_CONVOLUTIONS, "ConvTranspose"):
        return (1,)
    if kind in _MATRICES:
        return (1, 0)
    return (1, 2) if kind in _RECURRENT else (0,) if kind == "Gather" else ()


def _source(
    tensor: str, makers: Mapping[str, Any], floats: Mapping[str, tuple[int, ...]]
) -> tuple[str, tuple[int, ...]]:
    """The initializer that a tensor is, past nodes that only turn it, and the initializer's axes as the tensor's."""
    node = makers.get(tensor)
    if node is None or node.op_type not in ("Identity", "Transpose"):
        return tensor, tuple(range(len(floats.get(tensor, ()))))
    place, order = _source(node.input[0], makers, floats)
    if node.op_type == "Identity":
        return place, order
    said = next(
        (tuple(each.ints) for each in node.attribute if each.name == "perm"), tuple(reversed(range(len(order))))
    )
    return place, tuple(order[axis] for axis in said) if len(said) == len(order) else order


def _only_source(tensor: str, makers: Mapping[str, Any], floats: Mapping[str, tuple[int, ...]]) -> str:
    """The matrix whose rows a tensor has, in another order; empty where it is anything else."""
    if tensor in floats:
        return tensor if len(floats[tensor]) == 2 else ""
    node = makers.get(tensor)
    if node is None or node.op_type not in _SORTED:
        return ""
    taken = node.input if node.op_type == "Concat" else node.input[:1]
    found = {_only_source(each, makers, floats) for each in taken}
    return found.pop() if len(found) == 1 else ""


def _made(node: Any) -> str:
    return next((name for name in node.output if name), "")


def _weight(
    node: Any, at: int, stored: tuple[int, ...], order: tuple[int, ...]
) -> tuple[str, tuple[int, ...], int, tuple[int, ...], int] | None:
    """Kind, shape, channels, axes in the layer's order, and gates; None where the node only moves the numbers."""
    said = {each.name: each.i for each in node.attribute}
    taken = tuple(stored[axis] for axis in order)
    kind = node.op_type
    if kind in _CONVOLUTIONS and 3 <= len(taken) <= 5:
        return f"conv{len(taken) - 2}d", taken, taken[0], order, 1
    if kind == "ConvTranspose" and 3 <= len(taken) <= 5:
        return f"conv_transpose{len(taken) - 2}d", taken, taken[1] * said.get("group", 1), order, 1
    if kind in _RECURRENT:
        rows = math.prod(taken[:-1])
        return "linear", (rows, taken[-1]), rows, order, _RECURRENT[kind]
    if kind == "Gather":
        return ("embedding", taken, taken[0], order, 1) if len(taken) == 2 and not said.get("axis", 0) else None
    if kind in _MATRICES:
        # Rows are what makes one number that comes out: columns of a right factor, rows of a left one.
        flipped = bool(said.get(f"trans{'AB'[at]}", 0)) != (at == 1)
        axes = (*order[:-2], order[-1], order[-2]) if flipped else order
        rows = math.prod(stored[axis] for axis in axes[:-1])
        return "linear", (rows, stored[axes[-1]]), rows, axes, 1
    return None
