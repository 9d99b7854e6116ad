"""Bytes that a quantised weight takes in the files of each export target: scales, zero points and padding counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .blocks import GGUF_BLOCKS

if TYPE_CHECKING:
    from ..layers import Layer
    from .format import Format


def packed_bytes(layer: Layer, entry: Format) -> int:
    """Bytes of the format itself: packed without gaps, rounded up per tensor."""
    return entry.storage_bytes(layer)


def torchao_bytes(layer: Layer, entry: Format) -> int:
    """torchao: a byte for each weight whatever its bits; scales have zero points of a byte if inputs stay float.

    Those of experts have none.
    """
    scheme = entry.weight_scheme
    if scheme is None or entry.activation_scheme is not None or layer.kind == "experts":
        return entry.storage_bytes(layer)
    return layer.elements + scheme.scales(layer) * (1 + (4 if scheme.scale == "float32" else 2))


def compressed_tensors_bytes(layer: Layer, entry: Format) -> int:
    """compressed-tensors: rows packed into words of 32 bits, zero points by columns, and 16 bytes for the shape."""
    scheme = entry.weight_scheme
    plain = (
        scheme is not None and scheme.bits == 8 and (scheme.family == "float" or entry.activation_scheme is not None)
    )
    if scheme is None or scheme.family == "block" or plain:
        return entry.storage_bytes(layer)
    words = layer.known_channels * -(-layer.row * scheme.bits // 32)
    if layer.kind == "experts":
        return 4 * words + scheme.scales(layer) * (4 if scheme.scale == "float32" else 2) + 16 * matrices(layer)
    if not scheme.symmetric:
        words += scheme.scales(layer) // layer.known_channels * -(-layer.known_channels * scheme.bits // 32)
    return 4 * words + scheme.scales(layer) * (4 if scheme.scale == "float32" else 2) + 16


def matrices(layer: Layer) -> int:
    """In how many matrices checkpoints hold the experts of a layer: gates and ups apart."""
    return layer.shape[0] * (2 if layer.name.endswith("gate_up_proj") else 1)


def matmul_nbits_bytes(layer: Layer, entry: Format) -> int:
    """ONNX Runtime's MatMulNBits: the last group of a row is padded; float32 scales; zero points are packed by rows."""
    scheme = entry.weight_scheme
    if scheme is None or scheme.group_size is None:
        return entry.storage_bytes(layer)
    groups = scheme.scales(layer)
    zero_points = (
        0 if scheme.symmetric else layer.known_channels * -(-groups // layer.known_channels * scheme.bits // 8)
    )
    return groups * (scheme.group_size * scheme.bits // 8 + 4) + zero_points


def mlx_bytes(layer: Layer, entry: Format) -> int:
    """MLX: rows packed into words of 32 bits; a scale and a bias of 16 bits a group, of mxfp4 a scale of 8 bits."""
    scheme = entry.weight_scheme
    if scheme is None or scheme.group_size is None:
        return entry.storage_bytes(layer)
    words = layer.known_channels * -(-layer.row * scheme.bits // 32)
    return 4 * words + scheme.scales(layer) * (4 if scheme.family == "integer" else 1)


def gguf_bytes(layer: Layer, entry: Format) -> int:
    """GGUF: blocks that hold their scales, for formats named after a type of GGUF files; other formats as they are."""
    block = GGUF_BLOCKS.get(entry.name.upper())
    if block is None:
        return entry.storage_bytes(layer)
    size, stored = block
    if layer.channels is None and whole_blocks(layer, entry):
        return layer.elements // size * stored
    return layer.known_channels * -(-layer.row // size) * stored


def whole_blocks(layer: Layer, entry: Format) -> bool:
    """Whether the bytes that a file gives for a layer are those of a type's blocks without any padding."""
    size, stored = GGUF_BLOCKS[entry.name.upper()]
    return not entry.built_in and 8 * layer.elements * stored == size * entry.storage_bits(layer)
