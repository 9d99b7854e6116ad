"""Fake quantisation of weights: the nearest tensor that a format can store, in the weight's own dtype."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..errors import InvalidInput
from .arithmetic import encode, tensor_scale_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..formats.format import Format
    from ..formats.schemes import WeightScheme
    from ..layers import Layer

_CHUNK_ELEMENTS = 2**17  # scales are searched in chunks of about this size, which bounds memory and stays in cache


@dataclass(frozen=True, eq=False)
class EncodedWeight:
    """A weight as a built-in format stores it, for programs that write it down.

    Row ``c`` is output channel ``c``, see `schemes.WeightScheme`. Element ``(c, i)`` stands for
    ``(elements[c, i] - zero_points[c, g]) * (scales[c, g] * tensor_scale)``, where ``g = i // group_size`` or, without
    groups, 0; for ``"tensor"`` granularity there is one scale for all rows.

    Attributes
    ----------
    elements
        ``(channels, row)`` floating point: whole numbers, or numbers of the format's small floating-point type.
    scales
        ``(channels, groups)`` or ``(1, 1)``, rounded to what they are stored as.
    zero_points
        Whole numbers of the shape of `scales`; None for symmetric formats.
    tensor_scale
        The scale above the others, 1 where the format has none.
    """

    elements: Tensor
    scales: Tensor
    zero_points: Tensor | None
    tensor_scale: float


def quantize(weight: Tensor, format: Format, layer: Layer) -> Tensor:
    """Round a weight to what a format can store.

    Integers of two bits and more: codes from -(2^(b-1) - 1) to 2^(b-1) - 1, or with a zero point from 0 to 2^b - 1 on a
    range that contains zero; of `rounding.CLIP_STEPS` evenly spaced clipping thresholds the one with the least squared
    error is taken, for every scale on its own. One bit stores the sign (plus for 0) and the mean magnitude, which is
    the least-squares scale (Rastegari et al., 2016, *XNOR-Net: ImageNet Classification Using Binary Convolutional
    Neural Networks*). Small floating-point numbers are rounded to nearest, ties to even, with the largest magnitude
    brought to the largest number; the blocks of ``mxfp4`` have the power of two that the OCP MX specification
    prescribes. Zeros stay zero. Scales are rounded to what they are stored as before anything is divided by them.

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
    if format.weight_scheme is None:
        return weight.detach().clone()
    rows, units = _units(weight, format.weight_scheme, layer)
    tensor_scale = tensor_scale_of(rows) if format.weight_scheme.tensor_scale else None
    values = [
        torch.cat([encode(chunk, format.weight_scheme, tensor_scale).values for chunk in _chunks(unit)])
        for unit in units
    ]
    return _from_channel_rows(_joined(values, rows), layer).to(weight.dtype)


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
        When the weight does not fit, as for `quantize`, or the format is not built in or leaves weights float.
    """
    _check_weight(weight, layer)
    scheme = format.weight_scheme
    if scheme is None:
        raise InvalidInput(f"format {format.name!r} has no codes: it leaves weights float, or is a user's own")
    rows, units = _units(weight, scheme, layer)
    above = tensor_scale_of(rows) if scheme.tensor_scale else None
    parts = [[encode(chunk, scheme, above) for chunk in _chunks(unit)] for unit in units]
    count = 1 if scheme.granularity == "tensor" else layer.known_channels
    zeros = [
        torch.cat([each.zero_point for each in part if each.zero_point is not None])
        for part in parts
        if not scheme.symmetric
    ]
    return EncodedWeight(
        elements=_joined([torch.cat([each.elements for each in part]) for part in parts], rows),
        scales=_joined([torch.cat([each.scale for each in part]) for part in parts], rows, count),
        zero_points=_joined(zeros, rows, count) if zeros else None,
        tensor_scale=1.0 if above is None else float(above),
    )


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
        groups = layer.known_channels // weight.shape[1]
        weight = weight.reshape(groups, -1, *weight.shape[1:]).transpose(1, 2)  # (groups, out/groups, in/groups, ...)
    return weight.reshape(layer.known_channels, -1)


def _from_channel_rows(rows: Tensor, layer: Layer) -> Tensor:
    if not layer.kind.startswith("conv_transpose"):
        return rows.reshape(layer.shape)
    inputs, outputs, *kernel = layer.shape
    groups = layer.known_channels // outputs
    grouped = rows.reshape(groups, outputs, inputs // groups, *kernel)
    return grouped.transpose(1, 2).reshape(layer.shape)


def _units(weight: Tensor, scheme: WeightScheme, layer: Layer) -> tuple[Tensor, list[Tensor]]:
    """The weight as ``(channels, row)``, and as matrices whose rows have one scale each.

    There are two where groups do not divide the row: the whole groups, and the shorter ones at the ends of the rows.
    """
    weight = weight.detach()
    rows = _channel_rows(weight.to(_computed_in(weight.dtype)), layer)
    if scheme.granularity == "tensor":
        return rows, [rows.reshape(1, -1)]
    if scheme.group_size is None:
        return rows, [rows]
    whole = rows.shape[1] - rows.shape[1] % scheme.group_size
    parts = [rows[:, :whole].reshape(-1, scheme.group_size), rows[:, whole:]]
    return rows, [part for part in parts if part.numel()]


def _chunks(unit: Tensor) -> Sequence[Tensor]:
    return torch.split(unit, max(1, _CHUNK_ELEMENTS // unit.shape[1]))


def _joined(parts: Sequence[Tensor], rows: Tensor, count: int | None = None) -> Tensor:
    """Bring matrices with a row for each scale back to a row for each channel."""
    return torch.cat([part.reshape(count or len(rows), -1) for part in parts], dim=1).reshape(count or len(rows), -1)
