"""How codes and scales lie in the bytes of a block, for every type of ggml."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from .kinds import TABLE

if TYPE_CHECKING:
    from torch import Tensor

    from .kinds import Kind


@dataclass(frozen=True, eq=False)
class Blocks:
    """Blocks in parts: a weight is ``scale * code``, less its minimum or, in ``q4_1`` and ``q5_1``, plus it.

    Attributes
    ----------
    codes
        ``(n, block)`` int32, what each stands for, between ``kind.least`` and ``kind.most``; of tables the place in it.
    scale
        ``(n, 1)`` float16, of the block.
    scales
        ``(n, subs)`` int32, the codes of the scales within it; None where the type has none.
    minimum
        ``(n, 1)`` float16; None where the type has none.
    minima
        ``(n, subs)`` int32, the codes of the minima; None where the type has none.
    """

    codes: Tensor
    scale: Tensor
    scales: Tensor | None = None
    minimum: Tensor | None = None
    minima: Tensor | None = None

    def values(self, kind: Kind) -> Tensor:
        """``(n, block)`` float32, multiplied out in the order in which runtimes do, to the same last bit."""
        scale = self.scale.float()
        if self.scales is not None:
            scale = (scale * self.scales.float())[:, :, None]
        codes = self.codes.reshape(len(self.codes), -1, kind.sub if self.scales is not None else kind.block)
        if self.scales is None:
            scale = scale[:, :, None]
        numbers = codes_to_numbers(codes, kind) * scale
        if self.minimum is not None:
            low = self.minimum.float()
            if self.minima is None:
                numbers = numbers + low[:, :, None]
            else:
                numbers = numbers - (low * self.minima.float())[:, :, None]
        return numbers.reshape(self.codes.shape)


def codes_to_numbers(codes: Tensor, kind: Kind) -> Tensor:
    """What codes stand for, float32."""
    if not kind.table:
        return codes.float()
    return torch.tensor(TABLE, dtype=torch.float32, device=codes.device)[codes.long()]


def to_bytes(blocks: Blocks, kind: Kind) -> Tensor:
    """``(n, bytes)`` uint8."""
    codes = blocks.codes if kind.table or kind.name == "q8_0" else blocks.codes - kind.least
    head = _half(blocks.scale)
    low = None if blocks.minimum is None else _half(blocks.minimum)
    subs = blocks.scales
    if kind.name == "q8_0":
        parts = [head, codes.to(torch.int8).view(torch.uint8)]
    elif kind.block == 32:
        fifth = [_packed(codes >> 4, 1, 1)] if kind.bits == 5 else []
        parts = [head, *([] if low is None else [low]), *fifth, _packed(codes & 15, 4, 16)]
    elif kind.name == "iq4_xs":
        assert subs is not None
        scales = subs + 32
        parts = [head, _packed(scales >> 4, 2, 1), _packed(scales & 15, 4, 1), _packed(codes, 4, 16)]
    elif kind.name == "q6_k":
        assert subs is not None
        own = subs.to(torch.int8).view(torch.uint8)
        parts = [_packed(codes & 15, 4, 64), _packed(codes >> 4, 2, 32), own, head]
    elif kind.name == "q3_k":
        assert subs is not None
        scales = subs + 32
        own = torch.cat([_packed(scales & 15, 4, 8), _packed(scales >> 4, 2, 4)], dim=1)
        parts = [_packed(codes >> 2, 1, 32), _packed(codes & 3, 2, 32), own, head]
    else:
        assert subs is not None
        assert blocks.minima is not None
        assert low is not None
        if kind.name == "q2_k":
            parts = [(subs | (blocks.minima << 4)).to(torch.uint8), _packed(codes, 2, 32), head, low]
        else:
            fifth = [_packed(codes >> 4, 1, 32)] if kind.bits == 5 else []
            parts = [head, low, _six_bits(subs, blocks.minima), *fifth, _packed(codes & 15, 4, 32)]
    return torch.cat(parts, dim=1)


def from_bytes(data: Tensor, kind: Kind) -> Blocks:
    """Undo `to_bytes`: ``(n, bytes)`` uint8."""
    scales = minima = low = None
    if kind.name == "q8_0":
        head, body = data.split([2, 32], dim=1)
        return Blocks(body.contiguous().view(torch.int8).int(), _float16(head))
    if kind.block == 32:
        sizes = [2, 2 * kind.minima, 4 * (kind.bits == 5), 16]
        head, lows, fifth, body = data.split(sizes, dim=1)
        codes = _unpacked(body, 4, 16)
        if kind.bits == 5:
            codes = codes | (_unpacked(fifth, 1, 1) << 4)
        low = _float16(lows) if kind.minima else None
    elif kind.name == "iq4_xs":
        head, high, nibbles, body = data.split([2, 2, 4, 128], dim=1)
        scales = (_unpacked(nibbles, 4, 1) | (_unpacked(high, 2, 1) << 4)) - 32
        codes = _unpacked(body, 4, 16)
    elif kind.name == "q6_k":
        body, high, own, head = data.split([128, 64, 16, 2], dim=1)
        codes = _unpacked(body, 4, 64) | (_unpacked(high, 2, 32) << 4)
        scales = own.contiguous().view(torch.int8).int()
    elif kind.name == "q3_k":
        high, body, nibbles, upper, head = data.split([32, 64, 8, 4, 2], dim=1)
        codes = _unpacked(body, 2, 32) | (_unpacked(high, 1, 32) << 2)
        scales = (_unpacked(nibbles, 4, 8) | (_unpacked(upper, 2, 4) << 4)) - 32
    elif kind.name == "q2_k":
        own, body, head, lows = data.split([16, 64, 2, 2], dim=1)
        scales, minima, low = (own & 15).int(), (own >> 4).int(), _float16(lows)
        codes = _unpacked(body, 2, 32)
    else:
        head, lows, own, fifth, body = data.split([2, 2, 12, 32 * (kind.bits == 5), 128], dim=1)
        codes = _unpacked(body, 4, 32)
        if kind.bits == 5:
            codes = codes | (_unpacked(fifth, 1, 32) << 4)
        scales, minima = _from_six_bits(own)
        low = _float16(lows)
    return Blocks(codes if kind.table else codes + kind.least, _float16(head), scales, low, minima)


def _packed(codes: Tensor, bits: int, stride: int) -> Tensor:
    """Codes of few bits in bytes: a byte holds those that are `stride` apart, the first in its lowest bits."""
    apart = codes.int().reshape(len(codes), -1, 8 // bits, stride)
    shifts = torch.arange(0, 8, bits, dtype=torch.int32, device=codes.device)[:, None]
    made: Tensor = (apart << shifts).sum(dim=2).to(torch.uint8)
    return made.reshape(len(codes), -1)


def _unpacked(data: Tensor, bits: int, stride: int) -> Tensor:
    """Undo `_packed`; int32."""
    shifts = torch.arange(0, 8, bits, dtype=torch.int32, device=data.device)[:, None]
    apart = data.int().reshape(len(data), -1, 1, stride) >> shifts
    made: Tensor = apart & (2**bits - 1)
    return made.reshape(len(data), -1)


def _six_bits(scales: Tensor, minima: Tensor) -> Tensor:
    """Eight scales and eight minima of six bits in twelve bytes: the last four of each give two bits to the first."""
    first = [each[:, :4] | ((each[:, 4:] >> 4) << 6) for each in (scales, minima)]
    return torch.cat([*first, (scales[:, 4:] & 15) | ((minima[:, 4:] & 15) << 4)], dim=1).to(torch.uint8)


def _from_six_bits(data: Tensor) -> tuple[Tensor, Tensor]:
    scales, minima, both = data.int().split(4, dim=1)
    return (
        torch.cat([scales & 63, (both & 15) | ((scales >> 6) << 4)], dim=1),
        torch.cat([minima & 63, (both >> 4) | ((minima >> 6) << 4)], dim=1),
    )


def _half(numbers: Tensor) -> Tensor:
    return numbers.half().contiguous().view(torch.uint8)


def _float16(data: Tensor) -> Tensor:
    return data.contiguous().view(torch.float16)
