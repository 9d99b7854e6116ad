"""Rounding of rows of numbers that share a scale: the arithmetic of every built-in format."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from ..formats.schemes import WeightScheme

CLIP_STEPS = 40  # the clipping threshold is searched at k/40 of the range of a row, k = 1..40


@dataclass(frozen=True)
class SmallFloat:
    """A binary floating-point type with subnormal numbers and without infinities.

    Attributes
    ----------
    mantissa_bits
        Bits after the leading one.
    least_exponent
        The exponent of the smallest normal number.
    largest
        The largest finite number.
    """

    mantissa_bits: int
    least_exponent: int
    largest: float

    def round(self, numbers: Tensor) -> Tensor:
        """The nearest numbers of the type, ties to even; beyond the largest, the largest."""
        exponent = (torch.frexp(numbers)[1] - 1).clamp_(min=self.least_exponent) - self.mantissa_bits
        return times_power_of_two(times_power_of_two(numbers, -exponent).round_(), exponent).clamp_(
            -self.largest, self.largest
        )


# E4M3 and E5M2: Micikevicius et al. (2022), *FP8 Formats for Deep Learning*; E2M1: Open Compute Project (2023), *OCP
# Microscaling Formats (MX) Specification*, version 1.0.
SMALL_FLOATS = {"e4m3": SmallFloat(3, -6, 448.0), "e5m2": SmallFloat(2, -14, 57344.0), "e2m1": SmallFloat(1, 0, 6.0)}


@dataclass(frozen=True, eq=False)
class Encoded:
    """Rows as they are stored: every number is ``(element - zero_point) * scale``, times the tensor's scale if any.

    Attributes
    ----------
    elements
        ``(n_rows, n)`` floating point, holding whole numbers or numbers of a `SmallFloat`.
    scale
        ``(n_rows, 1)``, not negative, rounded to what it is stored as; a row of zeros may have any.
    zero_point
        ``(n_rows, 1)`` whole numbers, or None where zero is stored as zero.
    tensor_scale
        A scale above the others, or None.
    steps
        ``(n_rows, 1)`` uint8: the clipping thresholds that were chosen, in fortieths of each row's range; None where
        nothing was searched. With them `encode` gives the same to the last bit, and searches nothing.
    """

    elements: Tensor
    scale: Tensor
    zero_point: Tensor | None = None
    tensor_scale: Tensor | None = None
    steps: Tensor | None = None

    @property
    def values(self) -> Tensor:
        """``(n_rows, n)``: the numbers that are stored."""
        shifted = self.elements if self.zero_point is None else self.elements - self.zero_point
        scale = self.scale if self.tensor_scale is None else self.scale * self.tensor_scale
        limit = torch.finfo(shifted.dtype).max
        return (shifted * scale).clamp_(-limit, limit)


def searches(scheme: WeightScheme) -> bool:
    """Whether the clipping thresholds of a scheme are searched; of the others `encode` computes all from the rows."""
    return scheme.family == "integer" and scheme.bits > 1


def encode(
    rows: Tensor, scheme: WeightScheme, tensor_scale: Tensor | None = None, steps: Tensor | None = None
) -> Encoded:
    """Round rows, each with a scale of its own.

    Parameters
    ----------
    rows
        ``(n_rows, n)`` finite, float32 or float64.
    scheme
        How they are stored.
    tensor_scale
        For ``scheme.tensor_scale``: the scale that stands above those of the rows.
    steps
        The `Encoded.steps` of the same rows, where they are known.

    Returns
    -------
    encoded
        Elements, scales and zero points.
    """
    if scheme.family == "block":
        return _block(rows, scheme, tensor_scale)
    # Every row is brought near 1 by a power of two, so that neither its squares overflow nor its scale underflows.
    power = torch.frexp(rows.abs().amax(dim=1, keepdim=True))[1]
    near_one = times_power_of_two(rows, -power)
    if scheme.family == "float":
        return _float(near_one, scheme, power)
    if scheme.bits == 1:
        mean = near_one.abs().mean(dim=1, keepdim=True)
        scale = torch.where(mean > 0, _stored(mean, scheme, power), 0)
        return Encoded(torch.where(rows < 0, -1, 1).to(rows), times_power_of_two(scale, power))
    return (_symmetric if scheme.symmetric else _asymmetric)(near_one, scheme, power, steps)


def tensor_scale_of(weight: Tensor) -> Tensor:
    """The float32 scale above the E4M3 scales of blocks of E2M1: the largest block just fits (a scalar)."""
    largest = SMALL_FLOATS["e4m3"].largest * SMALL_FLOATS["e2m1"].largest
    scale = (weight.abs().amax() / largest).float().to(weight.dtype)
    return torch.where(scale > 0, scale, 1)


def times_power_of_two(numbers: Tensor, exponent: Tensor) -> Tensor:
    """``numbers * 2**exponent``, exactly; in two steps, since the power alone may be beyond the dtype's range."""
    half = exponent.div(2, rounding_mode="floor")
    return numbers * _power_of_two(half, numbers.dtype) * _power_of_two(exponent - half, numbers.dtype)


def _power_of_two(exponent: Tensor, dtype: torch.dtype) -> Tensor:
    """Made from the bits of the number: library functions round."""
    if dtype == torch.float64:
        return ((exponent.long() + 1023) << 52).view(torch.float64)
    return ((exponent.int() + 127) << 23).view(torch.float32)


def _stored(scale: Tensor, scheme: WeightScheme, power: Tensor) -> Tensor:
    """Scales of rows that were divided by ``2**power``, rounded to what they are stored as; 1 for rows of zeros."""
    if "float16" in (scheme.scale, scheme.held) or scheme.held == "bfloat16":
        kept = stored_scale(times_power_of_two(scale, power), scheme)
        scale = torch.where(scale > 0, times_power_of_two(kept, -power), 0)
    return torch.where(scale > 0, scale, 1)


def stored_scale(scale: Tensor, scheme: WeightScheme) -> Tensor:
    """Round scales to what they are stored as, and to what a runtime holds them in.

    Parameters
    ----------
    scale
        Positive numbers of any shape, float32 or float64.
    scheme
        The scheme.

    Returns
    -------
    scale
        The nearest positive numbers that both types have, in the dtype of `scale`.
    """
    half, brain = torch.finfo(torch.float16), torch.finfo(torch.bfloat16)
    if scheme.held == "bfloat16":
        if scheme.scale == "float16":  # below, float16 has fewer digits than bfloat16
            least, most = half.smallest_normal * half.eps / brain.eps, 65280.0
        else:
            least, most = brain.smallest_normal, brain.max
        return scale.clamp(least, most).to(torch.bfloat16).to(scale.dtype)
    if "float16" in (scheme.scale, scheme.held):
        return scale.clamp(half.smallest_normal * half.eps, half.max).half().to(scale.dtype)
    return scale.clamp(max=torch.finfo(torch.float32).max).float().to(scale.dtype)


def _symmetric(rows: Tensor, scheme: WeightScheme, power: Tensor, steps: Tensor | None) -> Encoded:
    top = 2 ** (scheme.bits - 1) - 1
    peak = rows.abs().amax(dim=1, keepdim=True)

    def scale_at(step: int | Tensor) -> Tensor:
        return _stored(peak * _ratio(step, CLIP_STEPS * top, rows.dtype), scheme, power)

    if steps is None:
        best_error = torch.full_like(peak, torch.inf)
        steps = torch.full_like(peak, CLIP_STEPS, dtype=torch.uint8)
        # From wide to narrow, so that equal errors keep the wider threshold and a quantised weight keeps its own scale.
        for step in range(CLIP_STEPS, 0, -1):
            scale = scale_at(step)
            error = _codes(rows, scale, top).mul_(scale).sub_(rows).square_().sum(dim=1, keepdim=True)
            better = error < best_error
            best_error = torch.where(better, error, best_error)
            steps.masked_fill_(better, step)
    scale = scale_at(steps)
    return Encoded(_codes(rows, scale, top), times_power_of_two(scale, power), steps=steps)


def _ratio(step: int | Tensor, of: int, dtype: torch.dtype) -> float | Tensor:
    """``step / of``; of many steps each in the dtype, as the product with a number rounds it."""
    return step / of if isinstance(step, int) else (step.double() / of).to(dtype)


def _codes(rows: Tensor, scale: Tensor, top: int) -> Tensor:
    return (rows / scale).round_().clamp_(-top, top)


def _asymmetric(rows: Tensor, scheme: WeightScheme, power: Tensor, steps: Tensor | None) -> Encoded:
    """The range reaches from the least to the largest number, zero included, and is clipped at both ends alike."""
    top = 2**scheme.bits - 1
    low = rows.amin(dim=1, keepdim=True).clamp(max=0)
    high = rows.amax(dim=1, keepdim=True).clamp(min=0)

    def range_at(step: int | Tensor) -> tuple[Tensor, Tensor]:
        scale = _stored((high - low) * _ratio(step, CLIP_STEPS * top, rows.dtype), scheme, power)
        return scale, (low * -_ratio(step, CLIP_STEPS, rows.dtype) / scale).round_().clamp_(0, top)

    if steps is None:
        best_error = torch.full_like(low, torch.inf)
        steps = torch.full_like(low, CLIP_STEPS, dtype=torch.uint8)
        for step in range(CLIP_STEPS, 0, -1):
            scale, zero = range_at(step)
            error = _shifted_codes(rows, scale, zero, top).sub_(zero).mul_(scale).sub_(rows)
            error = error.square_().sum(dim=1, keepdim=True)
            better = error < best_error
            best_error = torch.where(better, error, best_error)
            steps.masked_fill_(better, step)
    scale, zero = range_at(steps)
    return Encoded(_shifted_codes(rows, scale, zero, top), times_power_of_two(scale, power), zero, steps=steps)


def _shifted_codes(rows: Tensor, scale: Tensor, zero: Tensor, top: int) -> Tensor:
    return (rows / scale).round_().add_(zero).clamp_(0, top)


def _float(rows: Tensor, scheme: WeightScheme, power: Tensor) -> Encoded:
    """The largest magnitude of a row becomes the largest number of the type."""
    kind = SMALL_FLOATS[scheme.element]
    scale = _stored(rows.abs().amax(dim=1, keepdim=True) / kind.largest, scheme, power)
    return Encoded(kind.round(rows / scale), times_power_of_two(scale, power))


def _block(rows: Tensor, scheme: WeightScheme, tensor_scale: Tensor | None) -> Encoded:
    kind = SMALL_FLOATS[scheme.element]
    peak = rows.abs().amax(dim=1, keepdim=True)
    if tensor_scale is None:
        # The power of two that brings the peak to the largest exponent of the type; what is still too large saturates
        # (section 6.3 of the specification named above).
        exponent = torch.frexp(peak)[1] - 1 - math.floor(math.log2(kind.largest))
        exponent = exponent.clamp_(-127, 127)
        elements = kind.round(times_power_of_two(rows, -exponent))
        return Encoded(elements, times_power_of_two(torch.ones_like(peak), exponent))
    small = SMALL_FLOATS["e4m3"]
    least = 2.0 ** (small.least_exponent - small.mantissa_bits)
    scale = small.round(peak / kind.largest / tensor_scale).clamp_(min=least)
    return Encoded(kind.round(rows / (scale * tensor_scale)), scale, tensor_scale=tensor_scale)
