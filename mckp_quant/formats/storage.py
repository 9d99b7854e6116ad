"""What a quantised weight takes in the files of export targets: packing, scales and zero points, exactly."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..layers import Layer
    from .format import Format

# Types of GGUF files: weights in a block, and its bytes with scales.
BLOCKS: dict[str, tuple[int, int]] = {
    **{"Q4_0": (32, 18), "Q4_1": (32, 20), "Q5_0": (32, 22), "Q5_1": (32, 24), "Q8_0": (32, 34)},
    **{"IQ4_NL": (32, 18), "MXFP4": (32, 17), "NVFP4": (64, 36), "Q1_0": (128, 18)},
    **{"Q2_K": (256, 84), "Q3_K": (256, 110), "Q4_K": (256, 144), "Q5_K": (256, 176), "Q6_K": (256, 210)},
    **{"IQ1_S": (256, 50), "IQ1_M": (256, 56), "IQ2_XXS": (256, 66), "IQ2_XS": (256, 74), "IQ2_S": (256, 82)},
    **{"IQ3_XXS": (256, 98), "IQ3_S": (256, 110), "IQ4_XS": (256, 136), "TQ1_0": (256, 54), "TQ2_0": (256, 66)},
    **{"F32": (1, 4), "F16": (1, 2), "BF16": (1, 2)},
}


def as_format(layer: Layer, entry: Format) -> int:
    """What the format itself takes, packed without gaps."""
    return entry.storage_bytes(layer)


def in_whole_bytes(layer: Layer, entry: Format) -> int:
    """A byte for each weight whatever its bits, and beside each scale a zero point of a byte if inputs stay float."""
    scheme = entry.weight_scheme
    if scheme is None or entry.activation_scheme is not None:
        return entry.storage_bytes(layer)
    return layer.elements + scheme.scales(layer) * (1 + (4 if scheme.scale == "float32" else 2))


def in_words(layer: Layer, entry: Format) -> int:
    """Integers packed into words of 32 bits row by row (zero points column by column), and 16 bytes for the shape."""
    scheme = entry.weight_scheme
    plain = (
        scheme is not None and scheme.bits == 8 and (scheme.family == "float" or entry.activation_scheme is not None)
    )
    if scheme is None or scheme.family == "block" or plain:
        return entry.storage_bytes(layer)
    columns = layer.elements // layer.channels
    words = layer.channels * -(-columns * scheme.bits // 32)
    if not scheme.symmetric:
        words += scheme.scales(layer) // layer.channels * -(-layer.channels * scheme.bits // 32)
    return 4 * words + scheme.scales(layer) * (4 if scheme.scale == "float32" else 2) + 16


def in_matmul_nbits(layer: Layer, entry: Format) -> int:
    """Whole groups, the last of a row padded; float32 scales; zero points packed row by row."""
    scheme = entry.weight_scheme
    if scheme is None or scheme.group_size is None:
        return entry.storage_bytes(layer)
    groups = scheme.scales(layer)
    zero_points = 0 if scheme.symmetric else layer.channels * -(-groups // layer.channels * scheme.bits // 8)
    return groups * (scheme.group_size * scheme.bits // 8 + 4) + zero_points


def in_blocks(layer: Layer, entry: Format) -> int:
    """Blocks of the types of GGUF files, whose scales are part of them; other formats as they are."""
    block = BLOCKS.get(entry.name.upper())
    if block is None:
        return entry.storage_bytes(layer)
    size, stored = block
    return layer.channels * -(-(layer.elements // layer.channels) // size) * stored
