"""Fake quantisation of weights: the nearest tensor that a format can store, in the weight's own dtype."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..errors import InvalidInput
from ..formats.blocks import GGML
from .arithmetic import encode, searches, tensor_scale_of
from .encoded import BlockWeight, EncodedWeight, decode_weight
from .ggml.encoding import encode_rows
from .rows import channel_rows, chunks, computed_in, from_channel_rows, joined, lies_in_rows, scale_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ..formats.format import Format
    from ..layers import Layer

_AT_ONCE = 2**24  # weights of a layer that are searched at a time, which bounds the memory of copies


def quantize(weight: Tensor, format: Format, layer: Layer, steps: Tensor | None = None) -> Tensor:
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
    steps
        What `clip_steps` found for this weight and format: then nothing is searched, and the result is the same to the
        last bit.

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
    known = _of_units(units, steps)
    values = [
        torch.cat(
            [encode(chunk, format.weight_scheme, tensor_scale, at).values for chunk, at in _with_steps(unit, own)]
        )
        for unit, own in zip(units, known, strict=True)
    ]
    return from_channel_rows(joined(values, rows), layer).to(weight.dtype)


def clip_steps(weight: Tensor, format: Format, layer: Layer) -> Tensor | None:
    """Search the clipping thresholds of a weight, which are all that `quantize` has to search.

    Parameters
    ----------
    weight, format, layer
        As for `quantize`.

    Returns
    -------
    steps
        uint8, in fortieths of the range: ``(channels, groups)``, or ``(1, 1)`` for one scale of the whole tensor; None
        where the format has none, such as those of small floats, and for a user's own format.

    Raises
    ------
    InvalidInput
        As for `quantize`.
    """
    scheme, shape = format.weight_scheme, steps_shape(format, layer)
    by_rows = lies_in_rows(layer) and shape is not None and shape[0] == layer.shape[0] == weight.shape[0]
    if layer.elements > _AT_ONCE and by_rows:
        parts = []
        for own in weight.split(max(1, _AT_ONCE // layer.row)):  # every row for itself
            part = dataclasses.replace(layer, shape=tuple(own.shape), channels=len(own))
            parts.append(clip_steps(own, format, part))
        return torch.cat([each for each in parts if each is not None])
    check_weight(weight, layer)
    if scheme is None or shape is None:
        return None
    rows, units = scale_rows(weight, scheme, layer)
    found = [[encode(chunk, scheme).steps for chunk in chunks(unit)] for unit in units]
    return joined([torch.cat([each for each in own if each is not None]) for own in found], rows, shape[0])


def steps_shape(format: Format, layer: Layer) -> tuple[int, int] | None:
    """The shape of what `clip_steps` gives: ``(channels, groups)``, or ``(1, 1)``; None where it gives nothing."""
    scheme = format.weight_scheme
    if not format.built_in or scheme is None or not searches(scheme):
        return None
    rows = 1 if scheme.granularity == "tensor" else layer.known_channels
    return rows, scheme.scales(layer) // rows


def _of_units(units: Sequence[Tensor], steps: Tensor | None) -> list[Tensor | None]:
    """The steps of each matrix of `scale_rows`, ``(n_rows, 1)``."""
    if steps is None:
        return [None] * len(units)
    counts = [len(unit) // len(steps) for unit in units]
    return [own.reshape(-1, 1) for own in steps.split(counts, dim=1)]


def _with_steps(unit: Tensor, steps: Tensor | None) -> Iterator[tuple[Tensor, Tensor | None]]:
    pieces = chunks(unit)
    if steps is None:
        yield from ((piece, None) for piece in pieces)
    else:
        yield from zip(pieces, steps.split(len(pieces[0])), strict=True)


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


def rounding_error(
    weight: Tensor, format: Format, layer: Layer, steps: Tensor | None, out: Tensor | None = None
) -> Tensor:
    """Compute what a format adds to a weight, as `perturbations` does, from the thresholds that were searched before.

    Parameters
    ----------
    weight, format, layer
        As for `quantize`. A weight in a built-in format is not checked again.
    steps
        What `clip_steps` gave; of some of a weight's channels the rows of these.
    out
        Where to put it, contiguous; None to make a new tensor, whose memory takes longer to get than to fill.

    Returns
    -------
    error
        ``layer.shape``, as `perturbations` gives it, to the last bit.
    """
    plain = weight.detach()
    dtype, scheme = computed_in(plain.dtype), format.weight_scheme
    made = torch.empty_like(plain, dtype=dtype, memory_format=torch.contiguous_format) if out is None else out
    if scheme is None or not format.built_in:
        return torch.sub(quantize(plain, format, layer).to(dtype), plain, out=made)
    rows, units = scale_rows(plain, scheme, layer)
    above = tensor_scale_of(rows) if scheme.tensor_scale else None
    in_place = len(units) == 1 and lies_in_rows(layer)
    places = [made.view_as(units[0])] if in_place else [torch.empty_like(unit) for unit in units]
    for unit, place, own in zip(units, places, _of_units(units, steps), strict=True):
        parts = iter(chunks(place))
        for chunk, at in _with_steps(unit, own):
            torch.sub(encode(chunk, scheme, above, at).values.to(plain.dtype), chunk, out=next(parts))
    return made if in_place else made.copy_(from_channel_rows(joined(places, rows), layer))


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
