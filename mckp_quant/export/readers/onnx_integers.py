"""Weights of ONNX operators that multiply integers: those that quantise their inputs while they run, and QOperator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ...common.packages import require
from ..contract import Stored
from ..graphs.graph import EXTRA, Graph
from ..naming import integer_format

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DYNAMIC, _STATIC = "a8d", "a8"
# Where each operator has its weight, the weight's scale and zero point, and how it takes its input.
_OPERATORS: dict[str, list[tuple[int, int, int, str]]] = {
    "QLinearConv": [(3, 4, 5, _STATIC)],
    "QLinearMatMul": [(3, 4, 5, _STATIC)],
    "QGemm": [(3, 4, 5, _STATIC)],
    "MatMulIntegerToFloat": [(1, 3, 5, _DYNAMIC)],
    "DynamicQuantizeMatMul": [(1, 2, 3, _DYNAMIC)],
    "DynamicQuantizeLSTM": [(1, 8, 9, _DYNAMIC), (2, 10, 11, _DYNAMIC)],
}
_PRODUCTS = ("ConvInteger", "MatMulInteger")  # of integers: scales are multiplied behind them
_MATRIX = 2


def integer_weights(graph: Graph, node: Any) -> list[Stored]:
    """The weights of an operator that multiplies integers.

    Parameters
    ----------
    graph
        The graph, with its constants as initializers.
    node
        Any node.

    Returns
    -------
    stored
        Nothing where the node is another one, or multiplies two activations. Weights are in the initializer's shape;
        where the scale cannot be found, there are none.
    """
    if node.op_type in _PRODUCTS:
        names = _names(node, (1, -1, 3))
        names[1] = _scale_behind(graph, node.output[0])
        made = [_stored(graph, names, node.op_type, _DYNAMIC)]
    else:
        places = _OPERATORS.get(node.op_type, [])
        made = [_stored(graph, _names(node, each[:3]), node.op_type, each[3]) for each in places]
    return [each for each in made if each is not None]


def _names(node: Any, places: tuple[int, int, int]) -> list[str]:
    return [node.input[at] if 0 <= at < len(node.input) else "" for at in places]


def _scale_behind(graph: Graph, tensor: str) -> str:
    """The weight's scale that sums of products of integers are multiplied by; empty where it is not there."""
    for node in graph.readers(tensor):
        if node.op_type in ("Cast", "Reshape", "Identity", "Transpose", "Add"):
            return _scale_behind(graph, node.output[0])
        if node.op_type == "Mul":
            for name in node.input:
                made = graph.maker(name)
                if name in graph.initializers:
                    return str(name)
                if made is not None and made.op_type == "Mul" and tensor not in made.input:
                    held = [each for each in made.input if each in graph.initializers]
                    if held:
                        return str(held[0])
    return ""


def _stored(graph: Graph, names: list[str], kind: str, inputs: str) -> Stored | None:
    place, scale, zero = names
    if place not in graph.initializers or graph.array(place).ndim < _MATRIX:
        return None
    integers = graph.array(place)
    bits = 4 if graph.has_four_bits(place) else integers.dtype.itemsize * 8
    zeros = graph.array(zero) if zero in graph.initializers else np.zeros((), integers.dtype)
    middle = 0 if integers.dtype.kind == "i" else 2 ** (bits - 1)
    scales = graph.array(scale) if scale in graph.initializers else None
    weight = None
    if scales is not None:
        across = [_across(each, integers, kind) for each in (zeros, scales)]
        weight = (integers.astype(np.float32) - across[0].astype(np.float32)) * across[1].astype(np.float32)
    entry = integer_format(
        bits,
        tensor=scales is None or scales.size == 1,
        zero_point=bool((zeros != middle).any()),
        activations=inputs,
    )
    parts = [place, scale, zero if not entry.symmetric else ""]
    size = sum(graph.size(name) for name in parts if name in graph.initializers)
    tensor = None if weight is None else require("torch", EXTRA).from_numpy(np.ascontiguousarray(weight))
    return Stored(entry, size, place, tensor)


def _across(array: NDArray[Any], integers: NDArray[Any], kind: str) -> NDArray[Any]:
    """A number for each channel in the weight's dimensions: the first of a convolution, the last of a matrix."""
    if array.size == 1:
        return array.reshape([1] * integers.ndim)
    if "LSTM" in kind:  # a number for each direction, or for each of its columns
        shape = [len(integers), *[1] * (integers.ndim - 2), array.size // len(integers)]
    else:
        shape = [1] * integers.ndim
        shape[0 if "Conv" in kind else -1] = -1
    return array.reshape(shape)
