"""Where integers stand in an ONNX graph: inputs that are rounded, and weights in the form that the runtime computes in.

ONNX Runtime makes one integer operation of a layer where its input, its weight and what is made of it are all eight-bit
integers behind or before QuantizeLinear and DequantizeLinear; a MatMul may also give floating point. Nothing is
rounded for that which the policy does not round: what a layer gives counts as integers where the next layers' inputs
are. Elsewhere a DequantizeLinear would run every time, or make ONNX Runtime round the inputs of a MatMul, so that the
weight is a product with its scales, which the runtime computes when it loads the graph.
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
        name = f"{layer.name}.input_{scheme.name}.{source}"
        if scheme.symmetric or scheme.bits < _EIGHT:
            source = _bounded(graph, source, name, (grid.least - grid.zero_point) * grid.scale, scheme.bits)
        node.input[0] = rounded_copy(graph, source, name, grid, kind)


def _bounded(graph: Graph, source: str, name: str, least: float, bits: int) -> str:
    """The tensor without what is below the least code: the ONNX type of a symmetric grid has one code more.

    Not a Clip, which ONNX Runtime takes away where scales are small. Of four bits it also keeps apart what ONNX Runtime
    puts together wrongly: a Relu before signed codes, which then are negative, and a convolution from such codes to
    such codes, for which it has no kernel.
    """
    made = graph.maker(source)
    if made is not None and made.op_type == "Relu" and bits == _EIGHT:
        return source
    bound = np.array(least, dtype=np.float32)
    for node in graph.readers(source):
        if node.op_type == "Max" and node.input[1] in graph.initializers and graph.array(node.input[1]) == bound:
            return str(node.output[0])
    parts = [source, graph.add(f"{name}_least", bound)]
    graph.insert("Max", parts, f"{name}_bounded", graph.first_user(source))
    return f"{name}_bounded"


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
    readers = graph.readers(source)
    # What limits a symmetric grid has no reader yet: it stands in front of one.
    first = readers[0] if readers else graph.after(source)
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
    from ...rounding.rows import from_channel_rows, lies_in_rows
    from ..codes import codes_of

    codes = codes_of(encoded, entry, layer)
    name = graph.weight_of(layer)
    integers = from_channel_rows(codes.integers, layer).cpu().numpy()
    scales = codes.scales.reshape(-1).cpu().numpy()
    whole = entry.granularity == "tensor"
    users = graph.users(name)
    # A float weight between rounded inputs and outputs would be rounded once more, by the runtime.
    inside = entry.activation_scheme is not None and all(
        node.op_type == "MatMul" or ends_in_codes(graph, node.output[0]) for node in users
    )
    kinds = require("onnx", EXTRA).TensorProto
    before = graph.first_user(name)
    graph.remove(name)
    stored, bits = f"{name}_quantized", 4 if entry.weight_bits == 4 else None
    if not inside:
        shape = () if whole else shape_of_scales(layer)
        parts = [graph.add(stored, integers, bits), graph.add(f"{name}_scale", scales.reshape(shape))]
        graph.insert("Cast", [parts[0]], f"{name}_integers", before, to=kinds.FLOAT)
        graph.insert("Mul", [f"{name}_integers", parts[1]], name, before)
        return
    scale = graph.add(f"{name}_scale", scales.reshape(()) if whole else scales)
    unsigned = entry.weight_bits == _EIGHT and not (signed and eight_bits(entry))
    if unsigned:
        integers, bits = (integers.astype(np.int16) + _MIDDLE).astype(np.uint8), None
    parts = [graph.add(stored, integers, bits), scale]
    if bits == 4:  # widened when the graph is loaded; sums of products of so few bits do not overflow
        graph.insert("Cast", [stored], f"{name}_integers", before, to=kinds.INT8)
        parts[0] = f"{name}_integers"
    parts.append(_zero_point(graph, name, None if whole else len(scales), unsigned=unsigned))
    graph.insert(
        "DequantizeLinear", parts, name, before, **({} if whole else {"axis": 0 if lies_in_rows(layer) else 1})
    )


def shape_of_scales(layer: Layer) -> tuple[int, ...]:
    """The shape in which a scale for each output of a layer, or of each of its experts, multiplies its weight."""
    from ...rounding.rows import lies_in_rows

    if not lies_in_rows(layer):
        return (*layer.shape[:-2], 1, layer.shape[-1])
    held = 2 if layer.channels != layer.shape[0] else 1
    return (*layer.shape[:held], *[1] * (len(layer.shape) - held))


def _zero_point(graph: Graph, weight: str, channels: int | None, *, unsigned: bool) -> str:
    """The zero point in the middle of all codes; of unsigned ones all layers with as many channels share it.

    Signed codes would do without, but not where ``session.x64quantprecision`` makes unsigned ones of them: then each
    needs one of its own.
    """
    name = f"middle_{channels or 'scalar'}" if unsigned else f"{weight}_zero_point"
    if name not in graph.initializers:
        kind = np.uint8 if unsigned else np.int8
        graph.add(name, np.full(() if channels is None else channels, _MIDDLE if unsigned else 0, dtype=kind))
    return name


def eight_bits(entry: Format) -> bool:
    """Whether a format stores a weight and its input in integers of eight bits."""
    scheme = entry.activation_scheme
    return entry.weight_bits == _EIGHT and scheme is not None and scheme.bits == _EIGHT


def ends_in_codes(graph: Graph, tensor: str) -> bool:
    """Whether all that is made of a tensor is integers of one grid, such as the input of the next layer.

    Parameters
    ----------
    graph
        The graph.
    tensor
        What a layer gives.

    Returns
    -------
    ends
        A Relu, a Clip, or what only moves numbers may lie in between.
    """
    if any(each.name == tensor for each in graph.proto.graph.output):
        return False
    readers = graph.readers(tensor)
    if len(readers) != 1:
        return False
    (node,) = readers
    if node.op_type == "QuantizeLinear":
        return True
    return node.op_type in (*CLIPS, *_CARRIES) and node.input[0] == tensor and ends_in_codes(graph, node.output[0])


def makes_bytes(graph: Graph, node: Any) -> bool:
    """Whether a QuantizeLinear makes integers of eight bits."""
    return graph.array(node.input[2]).dtype.itemsize == 1 and not graph.has_four_bits(node.input[2])
