"""Fake quantisation of weights: the nearest tensor that a format can store, in the weight's own dtype."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..errors import InvalidInput
from ..formats.blocks import GGML
from .arithmetic import encode, tensor_scale_of
from .encoded import BlockWeight, EncodedWeight, decode_weight
from .ggml.encoding import encode_rows
from .rows import channel_rows, chunks, computed_in, from_channel_rows, joined, scale_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..formats.format import Format
    from ..layers import Layer


def quantize(weight: Tensor, format: Format, layer: Layer) -> Tensor:
    """Round a weight to what a format can store.

    Integers of two bits and more: codes from -(2^(b-1) - 1) to 2^(b-1) - 1, or with a zero point from 0 to 2^b - 1 on a
    range that contains zero; of `rounding.CLIP_STEPS` evenly spaced clipping thresholds the one with the least squared
    error is taken, for every scale on its own. One bit stores the sign (plus for 0) and the mean magnitude, which is
    the least-squares scale (Rastegari et al., 2016, *XNOR-Net: ImageNet Classification Using Binary Convolutional
    Neural Networks*). Small floating-point numbers are rounded to nearest, ties to even, with the largest magnitude
    brought to the largest number; the blocks of ``mxfp4`` have the power of two that the OCP MX specification
    prescribes. Blocks of ggml are what its own quantiser makes where that is one formula (``q4_0`` and its like), else
    scales and minima have the least squared error of many that are tried. Zeros stay zero but in blocks of ggml. Scales
    are rounded to what they are stored as before anything is divided by them.

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
    check_weight(weight, layer)
    if format.quantize is not None:
        return _user_quantized(weight, format.quantize, format.name, layer)
    if not format.built_in:
        raise InvalidInput(
            f"format {format.name!r} has no quantizer (a table read from a file keeps only its stored bits): "
            "give Format(..., quantize=...) to round weights to it"
        )
    if format.weight_scheme is None:
        return weight.detach().clone()
    if format.weight_scheme.family == GGML:
        return decode_weight(encode_blocks(weight, format, layer), format, layer, weight.dtype)
    rows, units = scale_rows(weight, format.weight_scheme, layer)
    tensor_scale = tensor_scale_of(rows) if format.weight_scheme.tensor_scale else None
    values = [
        torch.cat([encode(chunk, format.weight_scheme, tensor_scale).values for chunk in chunks(unit)])
        for unit in units
    ]
    return from_channel_rows(joined(values, rows), layer).to(weight.dtype)


def encode_weight(weight: Tensor, format: Format, layer: Layer) -> EncodedWeight:
    """Give a weight as a built-in format stores it: what `quantize` gives, before it is multiplied out.

    Parameters
    ----------
    weight, format, layer
        As for `quantize`.

    Returns
    -------
    encoded
        Elements, scales and zero points.

    Raises
    ------
    InvalidInput
        When the weight does not fit, as for `quantize`, or the format is not built in, leaves weights float, or has
        blocks of ggml.
    """
    check_weight(weight, layer)
    scheme = format.weight_scheme
    if scheme is not None and scheme.family == GGML:
        raise InvalidInput(
            f"format {format.name!r} has blocks, whose codes and scales lie together, and no separate codes: take the "
            "weight from quantize, or its blocks from round_weights"
        )
    if scheme is None:
        raise InvalidInput(f"format {format.name!r} has no codes: it leaves weights float, or is a user's own")
    rows, units = scale_rows(weight, scheme, layer)
    above = tensor_scale_of(rows) if scheme.tensor_scale else None
    parts = [[encode(chunk, scheme, above) for chunk in chunks(unit)] for unit in units]
    count = 1 if scheme.granularity == "tensor" else layer.known_channels
    zeros = [
        torch.cat([each.zero_point for each in part if each.zero_point is not None])
        for part in parts
        if not scheme.symmetric
    ]
    return EncodedWeight(
        elements=joined([torch.cat([each.elements for each in part]) for part in parts], rows),
        scales=joined([torch.cat([each.scale for each in part]) for part in parts], rows, count),
        zero_points=joined(zeros, rows, count) if zeros else None,
        tensor_scale=1.0 if above is None else float(above),
    )


def encode_blocks(weight: Tensor, format: Format, layer: Layer, importance: Tensor | None = None) -> BlockWeight:
    """Give a weight in blocks of ggml.

    Parameters
    ----------
    weight, format, layer
        As for `quantize`; the format is one of `blocks.GGML_FORMATS`.
    importance
        ``(groups, row)``, how much the square of an error of each weight of a row counts, for as many groups of
        channels one after another; None for the same everywhere.

    Returns
    -------
    encoded
        The blocks.

    Raises
    ------
    InvalidInput
        When the weight does not fit, as for `quantize`.
    """
    check_weight(weight, layer)
    rows = channel_rows(weight.detach(), layer)
    of_rows = None if importance is None else importance.repeat_interleave(len(rows) // len(importance), dim=0)
    assert format.weight_scheme is not None
    return BlockWeight(encode_rows(rows, format.weight_scheme.element, of_rows))


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
    dtype = computed_in(weight.dtype) if weight.is_floating_point() else weight.dtype
    return torch.stack([quantize(weight, entry, layer).to(dtype) - weight.to(dtype) for entry in formats])


def check_weight(weight: Tensor, layer: Layer) -> None:
    """Refuse a weight of another shape than the layer's, of whole numbers, or with nan; raises InvalidInput."""
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
