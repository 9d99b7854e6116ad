"""Fake quantisation of weights: the nearest tensor that a format can store, in the weight's own dtype."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .formats import Format
    from .layers import Layer

CLIP_STEPS = 40  # the clipping threshold is searched at k/40 of the largest magnitude of a channel, k = 1..40
_CHUNK_ELEMENTS = 2**17  # channels are searched in chunks of about this size, which bounds memory and stays in cache


def quantize(weight: Tensor, format: Format, layer: Layer) -> Tensor:
    """Round a weight to what a format can store.

    The built-in formats have one scale per output channel. From two bits on, codes run from -(2^(b-1) - 1) to
    2^(b-1) - 1 and the scale is the one of `CLIP_STEPS` evenly spaced clipping thresholds with the least squared
    error. One bit stores the sign (plus for 0) and the mean magnitude, which is the least-squares scale (Rastegari et
    al., 2016, *XNOR-Net: ImageNet Classification Using Binary Convolutional Neural Networks*). A channel of zeros stays
    zero.

    Parameters
    ----------
    weight
        ``layer.shape``, floating point. float16 and bfloat16 are computed in float32.
    format
        A built-in format, or one with its own `Format.quantize`, which is called with a copy of the weight.
    layer
        The facts about the weight: its name (for errors), kind and channels.

    Returns
    -------
    quantized
        Shape, dtype and device of `weight`, without gradient; `weight` is untouched.

    Raises
    ------
    InvalidInput
        When the weight has another shape than the layer, is not floating point or not finite; when the format has no
        quantizer; or when a user's quantizer returns anything but a finite tensor of the same shape.
    """
    _check_weight(weight, layer)
    if format.quantize is not None:
        return _user_quantized(weight, format.quantize, format.name, layer)
    if not format.built_in:
        raise InvalidInput(
            f"format {format.name!r} has no quantizer (a table read from a file keeps only its stored bits): "
            "give Format(..., quantize=...) to round weights to it"
        )
    weight = weight.detach()
    rows = _channel_rows(weight.to(_computed_in(weight.dtype)), layer)
    round_rows = _sign_and_mean if format.weight_bits == 1 else _clipped
    step = max(1, _CHUNK_ELEMENTS // rows.shape[1])
    quantized = torch.cat([round_rows(chunk, format.weight_bits) for chunk in torch.split(rows, step)])
    return _from_channel_rows(quantized, layer).to(weight.dtype)


def perturbations(weight: Tensor, formats: Sequence[Format], layer: Layer) -> Tensor:
    """Compute what each format adds to a weight: ``quantize(weight, format, layer) - weight``.

    Parameters
    ----------
    weight
        ``layer.shape``, floating point.
    formats
        The formats.
    layer
        The facts about the weight.

    Returns
    -------
    perturbations
        ``(n_formats, *layer.shape)``; float32 for half-precision weights (the difference of two of them need not be
        one), else the weight's dtype.

    Raises
    ------
    InvalidInput
        As for `quantize`.
    """
    weight = weight.detach()
    dtype = _computed_in(weight.dtype) if weight.is_floating_point() else weight.dtype
    return torch.stack([quantize(weight, entry, layer).to(dtype) - weight.to(dtype) for entry in formats])


def _computed_in(dtype: torch.dtype) -> torch.dtype:
    return dtype if dtype in {torch.float32, torch.float64} else torch.float32


def _check_weight(weight: Tensor, layer: Layer) -> None:
    if tuple(weight.shape) != layer.shape:
        raise InvalidInput(f"the weight of layer {layer.name!r} has the shape {tuple(weight.shape)}, not {layer.shape}")
    if not weight.is_floating_point():
        raise InvalidInput(f"the weight of layer {layer.name!r} is {weight.dtype}: it must be floating point")
    if not bool(torch.isfinite(weight).all()):
        count = int((~torch.isfinite(weight)).sum())
        raise InvalidInput(f"the weight of layer {layer.name!r} has {count} entries that are nan or infinite")


def _user_quantized(weight: Tensor, quantizer: Callable[[Tensor], object], name: str, layer: Layer) -> Tensor:
    with torch.no_grad():
        made = quantizer(weight.detach().clone())
    who = f"the quantizer of format {name!r}, given the weight of layer {layer.name!r},"
    if not isinstance(made, Tensor):
        raise InvalidInput(f"{who} returned {type(made).__name__}: it must return a tensor")
    if made.shape != weight.shape:
        raise InvalidInput(f"{who} returned the shape {tuple(made.shape)}: it must be {tuple(weight.shape)}")
    made = made.detach().to(dtype=weight.dtype, device=weight.device)
    if not bool(torch.isfinite(made).all()):
        raise InvalidInput(f"{who} returned {int((~torch.isfinite(made)).sum())} entries that are nan or infinite")
    return made


def _channel_rows(weight: Tensor, layer: Layer) -> Tensor:
    """``(channels, elements per channel)``: one row for everything that shares a scale."""
    if layer.kind.startswith("conv_transpose"):
        groups = layer.channels // weight.shape[1]
        weight = weight.reshape(groups, -1, *weight.shape[1:]).transpose(1, 2)  # (groups, out/groups, in/groups, ...)
    return weight.reshape(layer.channels, -1)


def _from_channel_rows(rows: Tensor, layer: Layer) -> Tensor:
    if not layer.kind.startswith("conv_transpose"):
        return rows.reshape(layer.shape)
    inputs, outputs, *kernel = layer.shape
    groups = layer.channels // outputs
    grouped = rows.reshape(groups, outputs, inputs // groups, *kernel)
    return grouped.transpose(1, 2).reshape(layer.shape)


def _sign_and_mean(rows: Tensor, bits: int) -> Tensor:
    mean = rows.abs().mean(dim=1, keepdim=True)
    return torch.where(rows < 0, -mean, mean)


def _clipped(rows: Tensor, bits: int) -> Tensor:
    top = 2 ** (bits - 1) - 1
    peak = rows.abs().amax(dim=1, keepdim=True)
    best_scale = torch.ones_like(peak)
    best_error = torch.full_like(peak, torch.inf)
    # From wide to narrow, so that equal errors keep the wider threshold and a quantised weight keeps its own scale.
    for step in range(CLIP_STEPS, 0, -1):
        scale = peak * (step / (CLIP_STEPS * top))
        scale = torch.where(scale > 0, scale, 1)  # zero channels, and scales that underflow
        error = _rounded(rows, scale, top).sub_(rows).square_().sum(dim=1, keepdim=True)
        better = error < best_error
        best_error = torch.where(better, error, best_error)
        best_scale = torch.where(better, scale, best_scale)
    return _rounded(rows, best_scale, top)


def _rounded(rows: Tensor, scale: Tensor, top: int) -> Tensor:
    return (rows / scale).round_().clamp_(-top, top).mul_(scale)
