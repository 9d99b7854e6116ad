"""The types whose blocks have one formula: codes from the extreme weights of a block, as ggml's own quantiser rounds.

The formula is that of the file format's reference (ggml-org, Python package *gguf*): to the same last bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from .layout import Blocks

if TYPE_CHECKING:
    from torch import Tensor

    from .kinds import Kind

REFERENCE = ("q4_0", "q5_0", "q8_0", "q4_1", "q5_1")


def reference_blocks(rows: Tensor, kind: Kind) -> Blocks:
    """Round blocks ``(n, 32)`` float32 to one of `REFERENCE`."""
    if kind.name == "q8_0":
        scale = rows.abs().amax(dim=1, keepdim=True) / 127
        numbers = rows * _inverse(scale)
        magnitude = numbers.abs()
        whole = magnitude.floor()
        codes = numbers.sign() * (whole + (2 * (magnitude - whole)).floor())  # half away from zero
        return Blocks(codes.int(), _half(scale))
    low = None
    if kind.minima:
        low = rows.amin(dim=1, keepdim=True)
        scale = (rows.amax(dim=1, keepdim=True) - low) / kind.most
        numbers = (rows - low) * _inverse(scale) + 0.5
    else:
        peak = rows.gather(1, rows.abs().argmax(dim=1, keepdim=True))
        scale = peak / kind.least
        numbers = rows * _inverse(scale) + (0.5 - kind.least)
    codes = numbers.nan_to_num(nan=0.5 - kind.least).trunc().int().clamp_(0, kind.most - kind.least) + kind.least
    return Blocks(codes, _half(scale), minimum=None if low is None else _half(low))


def _inverse(scale: Tensor) -> Tensor:
    return torch.where(scale == 0, 0, 1 / scale)


def _half(numbers: Tensor) -> Tensor:
    limit = torch.finfo(torch.float16).max
    return numbers.clamp(-limit, limit).half()
