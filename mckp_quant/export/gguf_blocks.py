"""Blocks of GGUF files: how 32 integers and their scale lie in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..formats.blocks import GGML_FORMATS
from ..formats.schemes import FLOAT

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK = 32
# Types whose blocks are 32 symmetric integers with one float16 scale: what our formats with groups of 32 are.
TYPES = {"w4g32": "Q4_0", "w5g32": "Q5_0", "w8g32": "Q8_0"}
FORMATS = {kind: name for name, kind in TYPES.items()}
HALVES = ("F16", "BF16")
# Types that only llama-quantize can make want the importance of inputs.
WANT_IMPORTANCE = ("IQ2_XXS", "IQ2_XS", "IQ1_S")


def own_name(name: str) -> str:
    """Our name of a format that may have ggml's: ``"Q8_0"`` is ``"w8g32"``, and ``"F32"`` is ``"float"``."""
    own = name.lower() if name.lower() in GGML_FORMATS else name
    return {**FORMATS, "F32": FLOAT}.get(name.upper(), own)


def ggml_type(name: str) -> str:
    """The type of GGUF files that a format is: ``"w8g32"`` is ``"Q8_0"``."""
    return TYPES.get(name, name.upper())


def from_blocks(data: NDArray[np.uint8], bits: int) -> tuple[NDArray[np.int8], NDArray[np.float16]]:
    """Undo `to_blocks`: ``(rows, bytes)`` become integers ``(rows, n)`` and scales ``(rows, n / 32)``."""
    rows, fifths = len(data), 4 if bits == 5 else 0
    blocks = data.reshape(rows, -1, 2 + fifths + BLOCK * (8 if bits == 8 else 4) // 8)
    scales = np.ascontiguousarray(blocks[..., :2]).view("<f2")[..., 0]
    packed = np.ascontiguousarray(blocks[..., 2 + fifths :])
    if bits == 8:
        return packed.view(np.int8).reshape(rows, -1), scales
    codes = np.concatenate([packed & 15, packed >> 4], axis=-1)
    if fifths:
        high = np.unpackbits(np.ascontiguousarray(blocks[..., 2 : 2 + fifths]), axis=-1, bitorder="little")
        codes = codes | (high << 4)
    return (codes.astype(np.int16) - 2 ** (bits - 1)).astype(np.int8).reshape(rows, -1), scales


def to_blocks(integers: NDArray[np.int8], scales: NDArray[np.float16], bits: int) -> NDArray[np.uint8]:
    """Lay integers and scales out as ggml does.

    Parameters
    ----------
    integers
        ``(rows, n)`` int8, n a multiple of 32.
    scales
        ``(rows, n / 32)`` float16.
    bits
        4, 5 or 8.

    Returns
    -------
    data
        ``(rows, bytes)`` uint8: for each block its scale; for 5 bits the fifth bits of all 32; then for 8 bits the
        integers, otherwise 16 bytes, of which byte i holds the low four bits of the integers i and i + 16, offset by
        half the range.
    """
    rows = len(integers)
    blocks = integers.reshape(rows, -1, BLOCK)
    head = np.ascontiguousarray(scales.astype("<f2"))[..., None].view(np.uint8)
    if bits == 8:
        parts: list[NDArray[Any]] = [head, blocks.view(np.uint8)]
    else:
        shifted = (blocks.astype(np.int16) + 2 ** (bits - 1)).astype(np.uint8)
        low = shifted & 15
        nibbles = low[..., : BLOCK // 2] | (low[..., BLOCK // 2 :] << 4)
        fifth = [np.packbits(shifted >> 4, axis=-1, bitorder="little")] if bits == 5 else []
        parts = [head, *fifth, nibbles]
    return np.concatenate(parts, axis=-1).reshape(rows, -1)
