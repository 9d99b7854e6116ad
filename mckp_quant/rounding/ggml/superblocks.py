"""Blocks whose scales have scales: the codes of scales and minima with which a block has the least weighed error."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import torch

from .layout import Blocks
from .scales import best_range, best_scale, error, half, nearest_codes, rounded

if TYPE_CHECKING:
    from torch import Tensor

    from .kinds import Kind

_ROUNDS = 2  # how often the scale of the block is fitted to the codes, and the codes to it
_NEIGHBOURS = (-1, 0, 1)  # codes of a scale that are tried, beside the nearest


def fitted_blocks(rows: Tensor, weights: Tensor, kind: Kind) -> Blocks:
    """Round blocks with the least squared error, each weight weighed by its importance.

    Parameters
    ----------
    rows
        ``(n, block)`` float32.
    weights
        ``(n, block)`` float32, positive.
    kind
        The type.

    Returns
    -------
    blocks
        Codes and scales.
    """
    subs = rows.reshape(len(rows), -1, kind.sub)
    own = weights.reshape(subs.shape)
    fit = best_range(subs, own, kind) if kind.minima else best_scale(subs, own, kind)
    if kind.scales is None:
        scale, low = half(fit.scale[:, 0]), None if fit.low is None else half(fit.low[:, 0])
        numbers = divided(rows, scale.float(), None if low is None else low.float())
        return Blocks(nearest_codes(numbers, kind), scale, minimum=low)
    if kind.minima:
        assert fit.low is not None
        return _with_minima(subs, own, fit.scale[..., 0], -fit.low[..., 0], kind)
    return _with_scales(subs, own, fit.scale[..., 0], kind)


def divided(rows: Tensor, scale: Tensor, low: Tensor | None) -> Tensor:
    """Rows less their minimum, in units of their scale; 0 where that is 0."""
    inverse = torch.where(scale == 0, 0, 1 / scale).nan_to_num_(posinf=0, neginf=0)
    return (rows if low is None else rows - low) * inverse


def _with_scales(subs: Tensor, weights: Tensor, scales: Tensor, kind: Kind) -> Blocks:
    """Types without minima; `scales` is ``(n, subs)``."""
    assert kind.scales is not None
    least, _ = kind.scales
    peak = scales.gather(1, scales.abs().argmax(dim=1, keepdim=True))
    best_scale_ = torch.zeros_like(peak).half()
    best_codes = torch.zeros_like(scales).int()
    best_error = torch.full_like(peak, torch.inf)
    for top in (least, least + 1, least + 2, least + 4):
        scale = half(peak / top)
        for _ in range(_ROUNDS):
            codes, found = _nearby(subs, weights, scales, scale.float(), kind)
            better = found < best_error
            best_scale_, best_codes = torch.where(better, scale, best_scale_), torch.where(better, codes, best_codes)
            best_error = torch.where(better, found, best_error)
            unit = codes.float()[..., None] * rounded(subs, (scale.float() * codes.float())[..., None], None, kind)
            square = (weights * unit * unit).sum(dim=(1, 2))[:, None]
            fitted = (weights * subs * unit).sum(dim=(1, 2))[:, None] / square
            scale = torch.where(square > 0, half(fitted), scale)
    step = (best_scale_.float() * best_codes.float())[..., None]
    final = nearest_codes(divided(subs, step, None), kind)
    return Blocks(final.reshape(len(subs), -1), best_scale_, best_codes)


def _nearby(subs: Tensor, weights: Tensor, scales: Tensor, scale: Tensor, kind: Kind) -> tuple[Tensor, Tensor]:
    """The codes ``(n, subs)`` of scales with the least error, among those near the scales, and the blocks' errors."""
    assert kind.scales is not None
    least, most = kind.scales
    middle = divided(scales, scale, None).round()
    best = torch.zeros_like(middle)
    best_error = torch.full_like(middle, torch.inf)
    for off in _NEIGHBOURS:
        codes = (middle + off).clamp(least, most)
        step = (scale * codes)[..., None]
        found = error(subs, weights, rounded(subs, step, None, kind), step, None)[..., 0]
        better = found < best_error
        best, best_error = torch.where(better, codes, best), torch.where(better, found, best_error)
    return best.int(), best_error.sum(dim=1, keepdim=True)


def _with_minima(subs: Tensor, weights: Tensor, scales: Tensor, minima: Tensor, kind: Kind) -> Blocks:
    """Types with minima; `scales` and `minima` are ``(n, subs)``, not negative."""
    assert kind.scales is not None
    _, most = kind.scales
    peak, deepest = scales.amax(dim=1, keepdim=True), minima.amax(dim=1, keepdim=True)
    best = [torch.zeros_like(each) for each in (peak, peak, scales, scales)]
    best_error = torch.full_like(peak, torch.inf)
    tops = (most, most - 1, most - 2) if most < 20 else (most,)
    for top, under in itertools.product(tops, tops):
        scale, low = half(peak / top).float(), half(deepest / under).float()
        for _ in range(_ROUNDS):
            codes, depths, found = _nearby_pairs(subs, weights, scales, minima, scale, low, kind)
            better = found < best_error
            now = (scale, low, codes, depths)
            best = [torch.where(better, new, old) for new, old in zip(now, best, strict=True)]
            best_error = torch.where(better, found, best_error)
            scale, low = _refitted(subs, weights, codes, depths, scale, low, kind)
    scale, low, codes, depths = best
    final = nearest_codes(divided(subs, (scale * codes)[..., None], -(low * depths)[..., None]), kind)
    return Blocks(final.reshape(len(subs), -1), scale.half(), codes.int(), low.half(), depths.int())


def _nearby_pairs(
    subs: Tensor, weights: Tensor, scales: Tensor, minima: Tensor, scale: Tensor, low: Tensor, kind: Kind
) -> tuple[Tensor, Tensor, Tensor]:
    """As `_nearby`, for codes of scales and of minima together."""
    assert kind.scales is not None
    _, most = kind.scales
    middle, depth = divided(scales, scale, None).round(), divided(minima, low, None).round()
    best, best_depth = torch.zeros_like(middle), torch.zeros_like(depth)
    best_error = torch.full_like(middle, torch.inf)
    for off, down in itertools.product(_NEIGHBOURS, _NEIGHBOURS):
        codes, depths = (middle + off).clamp(0, most), (depth + down).clamp(0, most)
        step, under = (scale * codes)[..., None], -(low * depths)[..., None]
        found = error(subs, weights, rounded(subs, step, under, kind), step, under)[..., 0]
        better = found < best_error
        best, best_depth = torch.where(better, codes, best), torch.where(better, depths, best_depth)
        best_error = torch.where(better, found, best_error)
    return best, best_depth, best_error.sum(dim=1, keepdim=True)


def _refitted(
    subs: Tensor, weights: Tensor, codes: Tensor, depths: Tensor, scale: Tensor, low: Tensor, kind: Kind
) -> tuple[Tensor, Tensor]:
    """The scale of scales and the scale of minima with the least error for codes as they are, as float16 holds them."""
    numbers = rounded(subs, (scale * codes)[..., None], -(low * depths)[..., None], kind)
    unit, depth = codes[..., None] * numbers, depths[..., None].expand_as(subs)
    weighed = weights * unit
    aa, ab, ax = ((weighed * each).sum(dim=(1, 2))[:, None] for each in (unit, depth, subs))
    bb, bx = ((weights * depth * each).sum(dim=(1, 2))[:, None] for each in (depth, subs))
    determinant = aa * bb - ab * ab
    solid = determinant > 1e-6 * aa * bb
    new_scale = torch.where(solid, (bb * ax - ab * bx) / determinant, torch.where(aa > 0, ax / aa, scale))
    new_low = torch.where(solid, (ab * ax - aa * bx) / determinant, torch.zeros_like(low))
    fine = (new_scale > 0) & (new_low >= 0)
    return half(torch.where(fine, new_scale, scale)).float(), half(torch.where(fine, new_low, low)).float()
