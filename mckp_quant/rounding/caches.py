"""Keys and values of an attention as a format stores them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ..formats.cache_formats import TOKENS, CacheScheme

if TYPE_CHECKING:
    from torch import Tensor

_LARGEST = torch.finfo(torch.float8_e4m3fn).max


def round_cache(numbers: Tensor, kind: str, scheme: CacheScheme) -> Tensor:
    """Round keys or values.

    Parameters
    ----------
    numbers
        ``(sequences, heads, tokens, width)``.
    kind
        ``"keys"``: every channel of a head has a scale and a least value for `TOKENS` tokens, the last group may be
        shorter; or ``"values"``: every token of a head has them.
    scheme
        How they are stored. Scales and least values are held in float16.

    Returns
    -------
    rounded
        Shape and dtype of `numbers`, without gradient.
    """
    plain = numbers.detach()
    wide = plain if plain.dtype == torch.float64 else plain.float()
    if not scheme.scaled:
        small = wide.clamp(-_LARGEST, _LARGEST).to(torch.float8_e4m3fn) if scheme.bits == 8 else wide.bfloat16()
        return small.to(numbers.dtype)
    if kind == "values":
        return _steps(wide, -1, scheme.bits).to(numbers.dtype)
    groups = [_steps(group, -2, scheme.bits) for group in wide.split(TOKENS, dim=-2)]
    return torch.cat(groups, dim=-2).to(numbers.dtype)


def _steps(numbers: Tensor, along: int, bits: int) -> Tensor:
    """Evenly spaced from the least to the largest number along a dimension."""
    low, high = numbers.amin(dim=along, keepdim=True), numbers.amax(dim=along, keepdim=True)
    low = low.half().to(numbers.dtype)
    scale = ((high - low) / (2**bits - 1)).half().to(numbers.dtype)
    scale = torch.where(scale > 0, scale, 1)
    return ((numbers - low) / scale).round_().clamp_(0, 2**bits - 1) * scale + low
