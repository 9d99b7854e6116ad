"""Where integers stand in an ONNX graph: inputs that are rounded, and weights in the form that the runtime computes in.

ONNX Runtime makes one integer operation of a layer where its input, its weight and what is made of it are all eight-bit
integers behind or before QuantizeLinear and DequantizeLinear; a MatMul may also give floating point. Nothing is
rounded for that which the policy does not round: what a layer gives counts as integers where the next layers' inputs
are. Elsewhere a DequantizeLinear would run every time, so that the weight is a product with its scales, which the
runtime computes when it loads the graph.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ...common.packages import require
from ...formats.ranges import grid_of
from .graph import EXTRA, Graph

if TYPE_CHECKING:
    from ...formats.format import Format
    from ...formats.ranges import ActivationRanges
    from ...formats.schemes import ActivationScheme
    from ...layers import Layer
    from ...rounding.encoded import StoredWeight

_EIGHT = 8
_MIDDLE = 128
# They give the numbers that they take, in other places: rounding before them is rounding after them.
_CARRIES = ("MaxPool", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Identity")
CLIPS = ("Relu", "Clip")
_SLACK = 1e-6  # of a clip's upper bound: the range of a ReLU6's output is that of float32 numbers


def quantize_inputs(graph: Graph, layer: Layer, scheme: ActivationScheme, ranges: ActivationRanges) -> None:
    """Every node that computes with a layer's weight takes its input from a rounded copy.

    Parameters
    ----------
    graph
        The graph; layers that read the same tensor with the same grid share the copy.
    layer
        The layer.
    scheme
        What its input is stored as.
    ranges
        The ranges of the policy.
    """
    grid = grid_of(*ranges.of(layer.name, scheme), scheme)
    kind = getattr(require("onnx", EXTRA).TensorProto, f"{'' if scheme.symmetric else 'U'}INT{scheme.bits}")
    for node in graph.users(graph.weight_of(layer)):
        source = node.input[0]
        node.input[0] = rounded_copy(graph, source, f"{layer.name}.input_{scheme.name}.{source}", grid, kind)


def rounded_copy(graph: Graph, source: str, name: str, grid: Any, kind: int) -> str:
    """The tensor behind QuantizeLinear and DequantizeLinear: an earlier copy on the same grid, or a new one.

    Parameters
    ----------
    graph
        The graph.
    source
        The tensor.
    name
        What a new copy is called.
    grid
        A `Grid`.
    kind
        The ONNX type of its codes.

    Returns
    -------
    copy
        The name of the copy.
    """
    scale = np.array(grid.scale, dtype=np.float32)
    for node in graph.readers(source):
        if node.op_type == "QuantizeLinear":
            zero = graph.initializers[node.input[2]]
            same = graph.array(node.input[1]) == scale and graph.array(zero.name) == grid.zero_point
            if same and zero.data_type == kind:
                return str(graph.readers(node.output[0])[0].output[0])
    first = graph.first_user(source)
    parts = [graph.add(f"{name}_scale", scale), graph.add_scalar(f"{name}_zero_point", grid.zero_point, kind)]
    graph.insert("QuantizeLinear", [source, *parts], f"{name}_quantized", first)
    graph.insert("DequantizeLinear", [f"{name}_quantized", *parts], name, first)
    return name


def quantize_weight(graph: Graph, encoded: StoredWeight, entry: Format, layer: Layer, *, signed: bool = False) -> None:
    """The float initializer becomes integers and scales, and what was there is made of them under the same name.

    Parameters
    ----------
    graph
        The graph, in which all inputs are rounded already.
    encoded
        The codes.
    entry
        The format of the layer.
    layer
        The layer.
    signed
        Whether codes of integer operations keep their sign. On x86 processors without VNNI sums of two products of such
        codes overflow their sixteen bits, and the layer's outputs are wrong.

    Raises
    ------
    InvalidInput
        When the graph has no such weight, or the codes cannot be written.
    """
    from ..codes import codes_of

    codes = codes_of(encoded, entry, layer)
    name = graph.weight_of(layer)
    integers = codes.integers.reshape(layer.shape).cpu().numpy()
    scales = codes.scales.reshape(-1).cpu().numpy()
    whole = entry.granularity == "tensor"
    users = graph.users(name)
    inside = _in_integers(graph, entry, users)
    before = graph.first_user(name)
    graph.remove(name)
    stored, bits = f"{name}_quantized", 4 if entry.weight_bits == 4 else None
    if not inside and any(node.op_type != "MatMul" for node in users):
        shape = () if whole else (-1, *[1] * (integers.ndim - 1))
        parts = [graph.add(stored, integers, bits), graph.add(f"{name}_scale", scales.reshape(shape))]
        kind = require("onnx", EXTRA).TensorProto.FLOAT
        graph.insert("Cast", [parts[0]], f"{name}_integers", before, to=kind)
        graph.insert("Mul", [f"{name}_integers", parts[1]], name, before)
        return
    scale = graph.add(f"{name}_scale", scales.reshape(()) if whole else scales)
    if inside and not signed:
        unsigned = (integers.astype(np.int16) + _MIDDLE).astype(np.uint8)
        parts = [graph.add(stored, unsigned), scale, _middle(graph, None if whole else len(scales))]
    else:
        parts = [graph.add(stored, integers, bits), scale]
    graph.insert("DequantizeLinear", parts, name, before, **({} if whole else {"axis": 0}))


def _middle(graph: Graph, channels: int | None) -> str:
    """The zero point of unsigned codes, which all layers with as many channels share."""
    name = f"middle_{channels or 'scalar'}"
    if name not in graph.initializers:
        graph.add(name, np.full(() if channels is None else channels, _MIDDLE, dtype=np.uint8))
    return name


def eight_bits(entry: Format) -> bool:
    """Whether a format stores a weight and its input in integers of eight bits."""
    scheme = entry.activation_scheme
    return entry.weight_bits == _EIGHT and scheme is not None and scheme.bits == _EIGHT


def _in_integers(graph: Graph, entry: Format, users: list[Any]) -> bool:
    """Whether the nodes that compute with a weight may become integer ones."""
    return eight_bits(entry) and all(node.op_type == "MatMul" or ends_in_codes(graph, node.output[0]) for node in users)


def ends_in_codes(graph: Graph, tensor: str) -> bool:
    """Whether all that is made of a tensor is eight-bit integers, such as the inputs of the next layers.

    Parameters
    ----------
    graph
        The graph.
    tensor
        What a layer gives.

    Returns
    -------
    ends
        A Relu or Clip in between is a part of the rounding where its bounds are those of the codes.
    """
    if any(each.name == tensor for each in graph.proto.graph.output):
        return False
    readers = graph.readers(tensor)
    if len(readers) != 1:
        return False
    (node,) = readers
    if node.op_type == "QuantizeLinear":
        return makes_bytes(graph, node)
    if node.op_type in _CARRIES and node.input[0] == tensor:
        return ends_in_codes(graph, node.output[0])
    if node.op_type not in CLIPS or not ends_in_codes(graph, node.output[0]):
        return False
    following = graph.readers(node.output[0])[0]
    return following.op_type == "QuantizeLinear" and _clips_as_codes_do(graph, node, following)


def makes_bytes(graph: Graph, node: Any) -> bool:
    """Whether a QuantizeLinear makes integers of eight bits."""
    return graph.array(node.input[2]).dtype.itemsize == 1 and not graph.has_four_bits(node.input[2])


def _clips_as_codes_do(graph: Graph, node: Any, rounding: Any) -> bool:
    """Whether a Relu or Clip changes nothing that a QuantizeLinear does not change as well."""
    scale, zero = float(graph.array(rounding.input[1])), graph.array(rounding.input[2])
    limits = np.iinfo(zero.dtype)
    least, most = scale * (limits.min - int(zero)), scale * (limits.max - int(zero))
    low, high = 0.0, np.inf
    if node.op_type == "Clip":
        bounds = [*node.input[1:], "", ""][:2]
        if any(name and name not in graph.initializers for name in bounds):
            return False
        low, high = (
            float(graph.array(name)) if name else limit for name, limit in zip(bounds, (-np.inf, np.inf), strict=True)
        )
    return low <= least and most <= high * (1 + _SLACK)
