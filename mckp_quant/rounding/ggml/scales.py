"""The scale, and the minimum, on which a few weights have the least squared error, each weighed by its importance."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import torch

from .kinds import TABLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from .kinds import Kind

_STEPS = 12  # scales that are tried, from one that reaches beyond the largest weight to one that clips it
_WIDEST = 0.75  # how many codes the widest scale leaves unused
_REFITS = 3
# What lies midway between two numbers of the table is a whole number of halves: the place in the table of what is
# nearest hangs on the halves alone, from -_END to _END.
_END = 2 * 128
_PLACES = [sum(low + high <= halves for low, high in pairwise(TABLE)) for halves in range(-_END, _END)]


@dataclass(frozen=True, eq=False)
class Fit:
    """Scales of rows of weights, and their minima: a weight is ``scale * code + low``.

    Attributes
    ----------
    scale
        ``(..., 1)`` float32.
    low
        ``(..., 1)`` float32; None where the type has no minimum.
    """

    scale: Tensor
    low: Tensor | None = None


def nearest_codes(numbers: Tensor, kind: Kind) -> Tensor:
    """The codes of numbers that were divided by their scale, int32."""
    if not kind.table:
        return numbers.round().clamp(kind.least, kind.most).int()
    return torch.tensor(_PLACES, dtype=torch.int32, device=numbers.device)[_halves(numbers)]


def rounded(rows: Tensor, scale: Tensor, low: Tensor | None, kind: Kind) -> Tensor:
    """The numbers, whole or of the table, that rows are nearest to on a scale; 0 where the scale is 0."""
    inverse = torch.where(scale == 0, 0, 1 / scale).nan_to_num_(posinf=0, neginf=0)
    numbers = (rows if low is None else rows - low) * inverse
    if not kind.table:
        return numbers.round_().clamp_(kind.least, kind.most)
    nearest = [TABLE[place] for place in _PLACES]
    return torch.tensor(nearest, dtype=torch.float32, device=rows.device)[_halves(numbers)]


def _halves(numbers: Tensor) -> Tensor:
    """Where numbers stand in `_PLACES`."""
    return (2 * numbers).floor_().clamp_(-_END, _END - 1).add_(_END).long()


def half(numbers: Tensor) -> Tensor:
    """float16, its largest numbers for what is beyond them."""
    limit = torch.finfo(torch.float16).max
    return numbers.clamp(-limit, limit).half()


def _stored(numbers: Tensor, kind: Kind) -> Tensor:
    """Scales or minima as the type stores them, where they have no codes of their own."""
    return numbers if kind.scales is not None else half(numbers).float()


def error(rows: Tensor, weights: Tensor, codes: Tensor, scale: Tensor, low: Tensor | None) -> Tensor:
    """The weighed squared error ``(..., 1)`` of rows in codes."""
    made = codes * scale if low is None else codes * scale + low
    return made.sub_(rows).square_().mul_(weights).sum(dim=-1, keepdim=True)


def best_scale(rows: Tensor, weights: Tensor, kind: Kind) -> Fit:
    """Find the scale of a type without a minimum.

    Parameters
    ----------
    rows
        ``(..., sub)`` float32, weights that share a scale.
    weights
        ``(..., sub)`` float32, how much the square of an error of each counts.
    kind
        The type.

    Returns
    -------
    fit
        With the least error of all that were tried; the sign of a scale may be either.
    """
    peak = rows.gather(-1, rows.abs().argmax(dim=-1, keepdim=True))
    best = torch.zeros_like(peak)
    least_error = torch.full_like(peak, torch.inf)
    for divisor in _divisors(kind):
        scale = peak / divisor
        for _ in range(_REFITS):
            codes = rounded(rows, scale, None, kind)
            square = (weights * codes * codes).sum(dim=-1, keepdim=True)
            scale = torch.where(square > 0, (weights * rows * codes).sum(dim=-1, keepdim=True) / square, scale)
        scale = _stored(scale, kind)
        found = error(rows, weights, rounded(rows, scale, None, kind), scale, None)
        better = found < least_error
        best, least_error = torch.where(better, scale, best), torch.where(better, found, least_error)
    return Fit(best)


def _divisors(kind: Kind) -> Sequence[float]:
    """By what the largest weight of a row is divided; the two ends of the codes take turns where they differ."""
    few = kind.bits <= 4
    count = _STEPS // (2 if few else 1)
    found = []
    for end in (kind.least, kind.most) if few else (kind.least,):
        step = 1 if not kind.table else abs(end) / 8
        size = abs(end)
        narrowest = size + step * (0.35 * 2 ** (kind.bits - 1) if few else 1.5)
        widest = size - _WIDEST * step
        found += [(widest + (narrowest - widest) * at / (count - 1)) * (1 if end > 0 else -1) for at in range(count)]
    return found


def best_range(rows: Tensor, weights: Tensor, kind: Kind) -> Fit:
    """Find the scale and the minimum of a type that has both.

    Parameters
    ----------
    rows, weights, kind
        As for `best_scale`.

    Returns
    -------
    fit
        With a scale that is not negative; a minimum with a code of its own is not positive.
    """
    capped = kind.scales is not None
    low, high = rows.amin(dim=-1, keepdim=True), rows.amax(dim=-1, keepdim=True)
    if capped:
        low = low.clamp(max=0)
    best_scale_, best_low = torch.zeros_like(low), low.clone()
    least_error = torch.full_like(low, torch.inf)
    total = weights.sum(dim=-1, keepdim=True)
    sum_x = (weights * rows).sum(dim=-1, keepdim=True)
    width = high - low
    for at in range(_STEPS):
        share = 1.05 - at * (1.05 - _narrowest(kind)) / (_STEPS - 1)
        scale = width * (share / kind.most)
        start = low + (1 - share) / 2 * width
        own = start.clamp(max=0) if capped else start
        for _ in range(_REFITS):
            codes = rounded(rows, scale, own, kind)
            weighed = weights * codes
            sum_l, sum_ll = weighed.sum(dim=-1, keepdim=True), (weighed * codes).sum(dim=-1, keepdim=True)
            sum_xl = (weighed * rows).sum(dim=-1, keepdim=True)
            determinant = total * sum_ll - sum_l * sum_l
            solid = determinant > 1e-6 * total * sum_ll
            new_scale = torch.where(solid, (total * sum_xl - sum_x * sum_l) / determinant, scale)
            new_low = torch.where(solid, (sum_ll * sum_x - sum_l * sum_xl) / determinant, own)
            if capped:
                above = new_low > 0
                new_scale = torch.where(above & (sum_ll > 0), sum_xl / sum_ll, new_scale)
                new_low = new_low.clamp(max=0)
            fine = new_scale > 0
            scale, own = torch.where(fine, new_scale, scale), torch.where(fine, new_low, own)
        scale, own = _stored(scale, kind), _stored(own, kind)
        found = error(rows, weights, rounded(rows, scale, own, kind), scale, own)
        better = found < least_error
        best_scale_, best_low = torch.where(better, scale, best_scale_), torch.where(better, own, best_low)
        least_error = torch.where(better, found, least_error)
    return Fit(best_scale_, best_low)


def _narrowest(kind: Kind) -> float:
    """The share of a row's range that the narrowest scale reaches over."""
    return {2: 0.55, 4: 0.8, 5: 0.88}[kind.bits]
