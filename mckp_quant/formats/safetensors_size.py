"""How many bytes a safetensors file takes: its header is JSON, and names every tensor with its shape and place.

The format is that of its documentation (Hugging Face, *Safetensors: format*): eight bytes, the header, which is padded
to eight, the data without gaps. Offsets are counted with the digits of the largest one, so sizes are upper bounds.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..layers import Layer
from .storage import matrices

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .format import Format
    from .schemes import WeightScheme

SIZES = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 8),
    **dict.fromkeys(("F32", "I32", "U32"), 4),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 2),
    **dict.fromkeys(("I8", "U8", "BOOL", "F8_E4M3", "F8_E5M2"), 1),
}
_HEAD = 8 + 7  # the length of the header, and what it is padded by at most
_SCALES = {"float32": "F32", "float16": "F16"}


@dataclass(frozen=True)
class StateTensor:
    """A tensor of a network's state.

    Attributes
    ----------
    name
        What it is called in the file.
    dtype
        Its type as safetensors names it, such as ``"F32"``.
    shape
        Its shape.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of its data."""
        return math.prod(self.shape) * SIZES[self.dtype]

    def bytes_in_file(self, digits: int) -> int:
        """Bytes of its data and of its entry in the header, whose offsets have at most so many digits."""
        entry = {"dtype": self.dtype, "shape": list(self.shape), "data_offsets": []}
        return self.nbytes + _text({self.name: entry}) - 2 + 1 + 2 * digits + 1  # no braces; commas


def digits_of(tensors: Sequence[StateTensor]) -> int:
    """Digits of the largest offset in a file of these tensors."""
    return len(str(sum(each.nbytes for each in tensors)))


def fixed_bytes(form: str, others: Sequence[StateTensor], weights: Sequence[StateTensor], digits: int) -> int:
    """Bytes of a file that do not depend on the layers' formats.

    Parameters
    ----------
    form
        ``"torchao"``, whose header describes every tensor once more, or ``"compressed_tensors"``.
    others
        The tensors that are no layer's weight.
    weights
        The layers' weights.
    digits
        Of the largest offset.

    Returns
    -------
    nbytes
        Headers and data, without what the weights take.
    """
    total = _HEAD + sum(each.bytes_in_file(digits) for each in others) + _text({"__metadata__": {"format": "pt"}}) + 1
    if form != "torchao":
        return total
    listed = [each.name for each in (*others, *weights) if "." in each.name]
    total += _text({"tensor_names": json.dumps(listed)}) - 2 + 1
    return total + sum(_described(each.name, _PLAIN) for each in others if "." in each.name)


def float_bytes(form: str, weight: StateTensor, digits: int) -> int:
    """Bytes that a layer's weight takes when it is left as it is."""
    described = _described(weight.name, _PLAIN) if form == "torchao" and "." in weight.name else 0
    return weight.bytes_in_file(digits) + described


def torchao_layer_bytes(name: str, layer: Layer, entry: Format, digits: int) -> int:
    """Bytes of a weight in torchao's tensors: integers, scales, zero points, and what describes them.

    Parameters
    ----------
    name
        The weight's name, such as ``"head.weight"``.
    layer, entry
        The layer and its format.
    digits
        Of the largest offset.

    Returns
    -------
    nbytes
        An upper bound.
    """
    scheme = entry.weight_scheme
    if scheme is None:
        return 0
    groups = scheme.scales(layer) // layer.known_channels
    blocks = (layer.known_channels, *[1] * (len(layer.shape) - 2), groups)
    plain = entry.activation_scheme is not None or layer.kind == "experts"
    if layer.kind == "experts":
        blocks = (*layer.shape[:-1], groups)
    sizes = [-(-size // count) for size, count in zip(layer.shape, blocks, strict=True)]
    place = "._".join(name.rsplit(".", 1))
    parts = [
        StateTensor(f"{place}_qdata", "I8", layer.shape),
        StateTensor(f"{place}_scale", _SCALES[scheme.scale], blocks),
    ]
    if not plain:
        parts.append(StateTensor(f"{place}_zero_point", "I8", blocks))
    described = _described(name, _torchao_words(entry, scheme, sizes, plain=plain))
    return sum(each.bytes_in_file(digits) for each in parts) + described


def compressed_layer_bytes(name: str, layer: Layer, entry: Format, digits: int) -> int:
    """Bytes of a weight as compressed-tensors stores it: plain or packed codes, scales, zero points, the shape.

    Parameters
    ----------
    name
        The weight's name, such as ``"head.weight"``.
    layer, entry
        The layer and its format.
    digits
        Of the largest offset.

    Returns
    -------
    nbytes
        An upper bound.
    """
    scheme = entry.weight_scheme
    if scheme is None:
        return 0
    if layer.kind == "experts":
        count = matrices(layer)
        rows = layer.known_channels // count
        one = Layer(layer.name, "linear", (rows, layer.row), rows, None)
        # Checkpoints have the number of the expert, and may have longer names, in their tensors.
        return count * compressed_layer_bytes(f"{name}.{count}{_LONGER}.weight", one, entry, digits)
    channels, groups = layer.known_channels, scheme.scales(layer) // layer.known_channels
    scales = StateTensor(f"{name}_scale", _SCALES[scheme.scale], (channels, groups))
    if scheme.family == "float":
        parts = [StateTensor(name, "F8_E4M3", layer.shape), scales]
    elif scheme.bits == 8 and entry.activation_scheme is not None:
        parts = [StateTensor(name, "I8", layer.shape), scales]
    else:
        words = -(-layer.row * scheme.bits // 32)
        parts = [StateTensor(f"{name}_packed", "I32", (channels, words)), scales]
        parts.append(StateTensor(f"{name}_shape", "I64", (2,)))
        if not scheme.symmetric:
            rows = -(-channels * scheme.bits // 32)
            parts.append(StateTensor(f"{name}_zero_point", "I32", (rows, groups)))
    return sum(each.bytes_in_file(digits) for each in parts)


_PLAIN = {"_type": "Tensor"}
_LONGER = " " * 24


def _torchao_words(entry: Format, scheme: WeightScheme, sizes: list[int], *, plain: bool) -> dict[str, Any]:
    """What torchao's safetensors say of a quantised tensor; the dtype of the network is taken for the longest."""
    dtype = {"_type": "torch.dtype", "_data": "bfloat16"}
    if not plain:
        return {
            "_type": "IntxUnpackedToInt8Tensor",
            "_data": {
                "target_dtype": {"_type": "torch.dtype", "_data": f"int{scheme.bits}"},
                "block_size": sizes,
                "dtype": dtype,
                "activation_quantization": None,
            },
            "_tensor_data_names": ["qdata", "scale", "zero_point"],
        }
    inputs = {
        "granularity": {"_type": "PerRow", "_data": {"dim": -1}},
        "mapping_type": {"_type": "MappingType", "_data": "ASYMMETRIC"},
        "reduce_range": False,
    }
    return {
        "_type": "Int8Tensor",
        "_data": {
            "block_size": sizes,
            "dtype": dtype,
            "act_quant_kwargs": None
            if entry.activation_scheme is None
            else {"_type": "QuantizeTensorToInt8Kwargs", "_data": inputs},
            "reduce_range": False,
        },
        "_tensor_data_names": ["qdata", "scale"],
    }


def _described(name: str, words: dict[str, Any]) -> int:
    return _text({name: json.dumps(words)}) - 2 + 1


def _text(document: dict[str, Any]) -> int:
    """Bytes of a document as safetensors writes it: without spaces, in UTF-8."""
    return len(json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode())
