"""Weights as signed integers and scales, as every toolchain stores them in some container of its own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from ..errors import InvalidInput
from ..rounding.encoded import BlockWeight, EncodedWeight, OpaqueWeight

if TYPE_CHECKING:
    from torch import Tensor

    from ..formats.format import Format
    from ..layers import Layer
    from ..rounding.encoded import StoredWeight

_SCALES = {"float32": torch.float32, "float16": torch.float16}


@dataclass(frozen=True, eq=False)
class Codes:
    """A weight as ``(integers - zero_points) * scales``: exactly what its codes stand for.

    Attributes
    ----------
    integers
        ``(channels, weights in a channel)`` int8, in the order in which the weight lies in memory; at least
        ``-2^(b-1)`` and at most ``2^(b-1) - 1``.
    scales
        ``(channels, groups)``, float32 or float16 as the format stores them; ``(1, 1)`` for a scale of the tensor.
    zero_points
        int8 of the shape of `scales`; zeros where the format has none.
    bits
        Bits of an integer.
    """

    integers: Tensor
    scales: Tensor
    zero_points: Tensor
    bits: int


def codes_of(encoded: StoredWeight, entry: Format, layer: Layer) -> Codes:
    """Give the codes of a weight as signed integers of two to eight bits.

    Parameters
    ----------
    encoded
        The weight in the format, as ``job.encoded(layer)`` gives it.
    entry
        A built-in format with integer weights, of groups that divide the rows.
    layer
        The facts about the weight.

    Returns
    -------
    codes
        The integers of a format with zero points are shifted by half their range, and so are its zero points.

    Raises
    ------
    InvalidInput
        When the format has no such integers, there are no codes but values, or the scales are not numbers of the type
        that the format stores.
    """
    scheme = entry.weight_scheme
    if scheme is None or scheme.family != "integer" or scheme.bits < 2:
        raise InvalidInput(
            f"layer {layer.name!r} in format {entry.name!r} has no integers of two to eight bits to store"
        )
    made = with_codes(encoded, entry, layer)
    scales = made.scales.to(_SCALES[scheme.scale])
    if not bool((scales == made.scales).all()):
        raise InvalidInput(
            f"the scales of layer {layer.name!r} in {entry.name!r} are no numbers of {scheme.scale}, which this format "
            "stores: round the network with round_weights, which holds them so"
        )
    middle = _middle(made, scheme.bits)
    zeros = torch.zeros_like(made.scales) if made.zero_points is None else made.zero_points.to(torch.int16) - middle
    return Codes(
        (made.elements.to(torch.int16) - middle).to(torch.int8),
        scales,
        zeros.to(torch.int8),
        scheme.bits,
    )


def with_codes(encoded: StoredWeight, entry: Format, layer: Layer) -> EncodedWeight:
    """The weight itself where it has codes; raises InvalidInput where it is values, which cannot be packed."""
    if not isinstance(encoded, EncodedWeight):
        raise InvalidInput(
            f"layer {layer.name!r} has values in {entry.name!r}, and no codes that could be written: its rounder gives "
            "none; round the network with one that does, such as gptq"
        )
    return encoded


def blocks_of(encoded: StoredWeight, entry: Format, layer: Layer) -> BlockWeight:
    """The weight itself where it is blocks of ggml; raises InvalidInput where it is values, which cannot be packed."""
    if not isinstance(encoded, BlockWeight):
        raise InvalidInput(
            f"layer {layer.name!r} has values in {entry.name!r}, and no blocks that could be written: its rounder "
            "gives none; round the network with one that does, such as gptq"
        )
    return encoded


def rows_of(encoded: StoredWeight, rows: Tensor) -> StoredWeight:
    """The codes of some rows of a weight, ``(n,)`` int64, in their order."""
    if isinstance(encoded, BlockWeight):
        return BlockWeight(encoded.data[rows])
    if isinstance(encoded, OpaqueWeight):
        return OpaqueWeight(encoded.values[rows])
    zeros = None if encoded.zero_points is None else encoded.zero_points[rows]
    return replace(encoded, elements=encoded.elements[rows], scales=encoded.scales[rows], zero_points=zeros)


def scaled(encoded: StoredWeight, factor: Tensor) -> StoredWeight:
    """The same codes for a weight whose channels were multiplied by a factor; values, without scales, as they are.

    Parameters
    ----------
    encoded
        A weight with a scale for each channel.
    factor
        ``(channels,)``.

    Returns
    -------
    encoded
        Its scales are float32, and negative where the factor is.
    """
    if not isinstance(encoded, EncodedWeight):
        return encoded
    return replace(encoded, scales=(encoded.scales.double() * factor.cpu()[:, None]).float())


def as_encoded(integers: Tensor, scales: Tensor, zero_points: Tensor | None, bits: int) -> EncodedWeight:
    """What a container holds, in the codes of a bank: undoes the shift of `codes_of`.

    Parameters
    ----------
    integers
        ``(channels, row)``, signed, or numbers of a small floating-point type.
    scales
        ``(channels, groups)`` or ``(1, 1)``.
    zero_points
        Signed, of the shape of `scales`; None for symmetric formats.
    bits
        Bits of an integer.

    Returns
    -------
    encoded
        With codes and zero points from 0 up where there are zero points.
    """
    if zero_points is None:
        return EncodedWeight(integers, scales)
    middle = 2 ** (bits - 1)
    return EncodedWeight(integers.to(torch.int16) + middle, scales, zero_points.to(torch.int16) + middle)


def difference_of_codes(asked: StoredWeight, found: StoredWeight) -> str:
    """Say how the codes of an artefact differ from those that were to be written, in words; empty where in no bit."""
    if isinstance(asked, BlockWeight) and isinstance(found, BlockWeight):
        same = asked.data.shape == found.data.shape and bool((asked.data.cpu() == found.data.cpu()).all())
        return "" if same else "has other blocks in the artefact"
    if not isinstance(asked, EncodedWeight) or not isinstance(found, EncodedWeight):
        return ""
    for what in ("elements", "scales", "zero_points"):
        own, read = getattr(asked, what), getattr(found, what)
        if own is None or read is None:
            if own is not read:
                return f"has {'no ' if read is None else ''}zero points in the artefact"
            continue
        if own.shape != read.shape:
            return f"has {what} of the shape {tuple(read.shape)} in the artefact, not {tuple(own.shape)}"
        wrong = int((own.cpu().double() != read.cpu().double()).sum())
        if wrong:
            return f"has other codes in the artefact: {wrong:,} of {own.numel():,} {what.replace('_', ' ')} differ"
    return ""


def _middle(encoded: EncodedWeight, bits: int) -> int:
    return 0 if encoded.zero_points is None else 2 ** (bits - 1)
