"""Reads quantised ONNX graphs: DequantizeLinear behind an initializer, MatMulNBits, and operators on integers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ...common.files import check_regular, readable
from ...common.packages import require
from ...formats.format import Format
from ...onnx_models.lifting import lifted, nodes_in
from ...onnx_models.weights import layer_name
from ..contract import Stored
from ..graphs.graph import EXTRA, Graph, unpack
from ..naming import integer_format
from .onnx_integers import integer_weights

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from ...rounding.encoded import EncodedWeight

_FLOAT = Format.named("float")
_COMPUTE = ("Conv", "Gemm", "MatMul", "ConvTranspose", "FusedConv", "FusedGemm", "FusedMatMul")
_RECURRENT = ("LSTM", "GRU", "RNN")
_TURNS = ("Transpose", "Identity")
_MOVES = (*_TURNS, "Concat", "Slice", "Split", "Squeeze", "Unsqueeze", "Reshape")
_LOOK_UPS = ("Gather", "GatherND")
_DIMENSIONS = 2


def load(path: Path) -> Graph:
    """Read a graph; raises InvalidInput where the file is missing or no ONNX."""
    onnx = require("onnx", EXTRA)
    check_regular(path, "ONNX graph")
    with readable(f"the ONNX graph {str(path)!r}"):
        return Graph(lifted(onnx.load(path)))


def stored_layers(graph: Graph) -> dict[str, Stored]:
    """What a graph says of every weight that a Conv, Gemm or MatMul computes with.

    Parameters
    ----------
    graph
        The graph.

    Returns
    -------
    stored
        By the names of the layers: those of the weights, without ``.weight`` and what quantisers append.
    """
    found: dict[str, Stored] = {}
    for node in nodes_in(graph.proto.graph):
        for stored in _stored_by(graph, node):
            found.setdefault(layer_name(stored.place), stored)
    return found


def _stored_by(graph: Graph, node: Any) -> list[Stored]:
    """The weights that a node computes with."""
    if node.op_type == "MatMulNBits":
        return [_nbits(graph, node)]
    if node.op_type in _COMPUTE:
        made = [_computed(graph, node, at) for at in ((1, 0) if node.op_type == "MatMul" else (1,))]
    elif node.op_type in _RECURRENT:
        made = [_computed(graph, node, at, _MOVES) for at in (1, 2)]
    elif node.op_type in _LOOK_UPS:
        made = [_looked_up(graph, node.input[0])]
    else:
        return integer_weights(graph, node)
    return [each for each in made if each is not None]


def _looked_up(graph: Graph, name: str) -> Stored | None:
    """The weight of an embedding, or those of experts; None where something else is looked up."""
    made = graph.maker(name)
    if made is not None and made.op_type == "Mul":
        return _multiplied(graph, made, "", rows_of=2)
    if name not in graph.initializers or graph.array(name).ndim < _DIMENSIONS or graph.array(name).dtype.kind != "f":
        return None
    return Stored(_FLOAT, graph.size(name), name, _tensor(graph.array(name)))


def _computed(graph: Graph, node: Any, at: int, moves: tuple[str, ...] = _TURNS) -> Stored | None:
    """The weight of a node, stored float or behind DequantizeLinear; None where it multiplies two activations."""
    inputs = _activations(graph, node.input[0]) if at else ""
    weight = graph.source(node.input[at], moves)
    if weight in graph.initializers:
        array = graph.array(weight)
        if array.ndim < _DIMENSIONS or array.dtype.kind != "f":
            return None
        entry = Format.named(inputs) if inputs else _FLOAT
        return Stored(entry, graph.size(weight), weight, _tensor(array))
    made = graph.maker(weight)
    if made is not None and made.op_type == "Mul":
        return _multiplied(graph, made, inputs)
    if made is None or made.op_type != "DequantizeLinear":
        return None
    place = _before_cast(graph, made.input[0])
    return None if place is None else _dequantized(graph, made, place, inputs)


def _multiplied(graph: Graph, node: Any, inputs: str, rows_of: int = 1) -> Stored | None:
    """A weight that is the product of integers and scales; None where the node multiplies something else.

    Its rows are counted by the first `rows_of` dimensions: experts have some each.
    """
    place = _before_cast(graph, node.input[0])
    if place is None or node.input[1] not in graph.initializers or graph.array(place).dtype.kind not in "iu":
        return None
    integers, scales = graph.array(place), graph.array(node.input[1])
    if scales.ndim > 1 and scales.shape == (*integers.shape[:-2], 1, integers.shape[-1]) and integers.shape[-2] > 1:
        return _stored(graph, place, node.input[1], None, integers.ndim - 1, inputs)  # of (in, out)
    held = next((at for at, size in enumerate(scales.shape) if size == 1), scales.ndim)
    if scales.size > 1 and scales.shape != (*integers.shape[:held], *[1] * (integers.ndim - held)):
        return None  # not a number for each row
    return _stored(graph, place, node.input[1], None, 0, inputs, int(np.prod(integers.shape[:rows_of])))


def _before_cast(graph: Graph, tensor: str) -> str | None:
    """The initializer that a tensor is, or is another type of; None where it is something else."""
    made = graph.maker(tensor)
    place = made.input[0] if made is not None and made.op_type == "Cast" else tensor
    return place if place in graph.initializers else None


def _dequantized(graph: Graph, node: Any, place: str, inputs: str) -> Stored:
    helper = require("onnx", EXTRA).helper
    attributes = {each.name: helper.get_attribute_value(each) for each in node.attribute}
    zeros = node.input[2] if len(node.input) > 2 and node.input[2] else None
    axis = int(attributes.get("axis", 1))
    if attributes.get("block_size"):
        return _blocked(graph, [place, node.input[1], zeros or ""], axis, int(attributes["block_size"]), inputs)
    return _stored(graph, place, node.input[1], zeros, axis, inputs)


def _blocked(graph: Graph, names: list[str], axis: int, size: int, inputs: str) -> Stored:
    """A weight in blocks along an axis, each with a scale; raises InvalidInput where no format has such groups."""
    place, scale, zero = names
    integers, scales = graph.array(place), graph.array(scale).astype(np.float32)
    bits = 4 if graph.has_four_bits(place) else integers.dtype.itemsize * 8
    zeros = graph.array(zero).astype(np.float32) if zero else np.zeros_like(scales)
    spread = [np.repeat(each, size, axis=axis).take(range(integers.shape[axis]), axis=axis) for each in (scales, zeros)]
    signed = graph.initializers[place].data_type in _signed_kinds()
    entry = integer_format(
        bits, group=size, zero_point=bool((zeros != (0 if signed else 2 ** (bits - 1))).any()), activations=inputs
    )
    stored = sum(graph.size(name) for name in names if name)
    return Stored(entry, stored, place, _tensor((integers.astype(np.float32) - spread[1]) * spread[0]))


def _signed_kinds() -> tuple[int, ...]:
    kinds = require("onnx", EXTRA).TensorProto
    return (kinds.INT4, kinds.INT8, kinds.INT16)


def _stored(
    graph: Graph, place: str, scale: str, zero: str | None, axis: int, inputs: str, rows: int | None = None
) -> Stored:
    """What integers, scales and perhaps zero points say; the names are those of initializers."""
    integers, scales = graph.array(place), graph.array(scale)
    zeros = np.zeros(1, integers.dtype) if zero is None else graph.array(zero)
    bits = 4 if graph.has_four_bits(place) else integers.dtype.itemsize * 8
    signed = graph.initializers[place].data_type in _signed_kinds()
    shape = list(scales.shape) if scales.ndim == integers.ndim else [1] * integers.ndim
    if scales.size > 1 and scales.ndim != integers.ndim:
        shape[axis] = -1
    weight = (integers.astype(np.float32) - zeros.astype(np.float32).reshape(shape if zeros.size > 1 else -1)) * (
        scales.reshape(shape if scales.size > 1 else -1)
    )
    middle = 0 if signed else 2 ** (bits - 1)
    entry = integer_format(
        bits,
        tensor=scales.ndim == 0 or (scales.size == 1 and integers.shape[0] > 1),
        zero_point=bool((zeros != middle).any()),
        activations=inputs,
    )
    # Zero points in the middle say nothing of a weight, and layers of as many channels share them.
    parts = [place, scale, *([zero] if zero is not None and not entry.symmetric else [])]
    size = sum(graph.size(name) for name in parts)
    lowered = integers.astype(np.int16) - middle
    shifts = None if entry.symmetric else zeros.astype(np.int16) - middle
    if scales.size > 1 and axis:
        if axis != integers.ndim - 1 or integers.ndim < _DIMENSIONS:  # channels are not what rows are made of
            return Stored(entry, size, place, _tensor(weight))
        lowered, rows = np.swapaxes(lowered, -1, -2), scales.size
    codes = _codes(lowered.reshape(rows or integers.shape[0], -1), scales.reshape(-1, 1), shifts, bits)
    return Stored(entry, size, place, _tensor(weight), codes)


def _activations(graph: Graph, tensor: str) -> str:
    """The activation part of a format's name, from the zero point in front of a node."""
    made = graph.maker(tensor)
    if made is None or made.op_type != "DequantizeLinear":
        return ""
    quantized = graph.maker(made.input[0])
    if quantized is None or quantized.op_type != "QuantizeLinear":
        return ""
    kinds = require("onnx", EXTRA).TensorProto
    if len(quantized.input) < 3:
        return "a8"
    zero = graph.initializers[quantized.input[2]]
    signed = {kinds.INT4: 4, kinds.INT8: 8, kinds.INT16: 16}
    unsigned = {kinds.UINT4: 4, kinds.UINT8: 8, kinds.UINT16: 16}
    middle = zero.data_type in signed and not graph.array(zero.name).any()
    return f"a{(signed | unsigned)[zero.data_type]}{'s' if middle else ''}"


def _nbits(graph: Graph, node: Any) -> Stored:
    helper = require("onnx", EXTRA).helper
    said = {each.name: helper.get_attribute_value(each) for each in node.attribute}
    bits, size, rows, columns = (int(said[name]) for name in ("bits", "block_size", "N", "K"))
    place = node.input[1]
    codes = unpack(graph.array(place).astype(np.uint8).reshape(rows, -1), bits)
    blocks = codes.reshape(rows, -1, size)
    scales = graph.array(node.input[2]).reshape(rows, -1)
    has_zeros = len(node.input) > 3 and bool(node.input[3])
    zeros: NDArray[Any] = np.full(scales.shape, 2 ** (bits - 1), dtype=np.uint8)
    if has_zeros:
        packed = graph.array(node.input[3]).astype(np.uint8).reshape(rows, -1)
        zeros = unpack(packed, bits)[:, : scales.shape[1]]
    weight = (blocks.astype(np.float32) - zeros[..., None]) * scales.astype(np.float32)[..., None]
    parts = [name for name in node.input[1:4] if name]
    lowered = codes[:, :columns].astype(np.int16) - 2 ** (bits - 1)
    shifts = zeros.astype(np.int16) - 2 ** (bits - 1) if has_zeros else None
    return Stored(
        integer_format(bits, group=size, zero_point=has_zeros),
        sum(graph.size(name) for name in parts),
        place,
        _tensor(weight.reshape(rows, -1)[:, :columns]),
        _codes(lowered, scales, shifts, bits),
    )


def _codes(
    integers: NDArray[np.int16], scales: NDArray[Any], zeros: NDArray[np.int16] | None, bits: int
) -> EncodedWeight:
    """Signed integers ``(channels, row)``, scales and signed zero points as codes of a bank."""
    from ..codes import as_encoded

    shifts = None if zeros is None else _tensor(np.broadcast_to(zeros.reshape(-1, scales.shape[1]), scales.shape))
    return as_encoded(_tensor(integers), _tensor(scales), shifts, bits)


def _tensor(array: NDArray[Any]) -> Any:
    return require("torch", EXTRA).from_numpy(np.array(array))
