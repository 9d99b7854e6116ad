"""Weights as signed integers and scales, as every toolchain stores them in some container of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from ..errors import InvalidInput
from ..rounding.weights import encode_weight

if TYPE_CHECKING:
    from torch import Tensor

    from ..formats.format import Format
    from ..layers import Layer

_SCALES = {"float32": torch.float32, "float16": torch.float16}


@dataclass(frozen=True, eq=False)
class Codes:
    """A weight as ``(integers - zero_points) * scales``: exactly what `quantize` rounds it to.

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


def codes_of(weight: Tensor, entry: Format, layer: Layer) -> Codes:
    """Encode a weight in a format with integers of two to eight bits.

    Parameters
    ----------
    weight
        ``layer.shape``, floating point.
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
        When the format has no such integers.
    """
    scheme = entry.weight_scheme
    if scheme is None or scheme.family != "integer" or scheme.bits < 2:
        raise InvalidInput(
            f"layer {layer.name!r} in format {entry.name!r} has no integers of two to eight bits to store"
        )
    made = encode_weight(weight, entry, layer)
    middle = 0 if made.zero_points is None else 2 ** (scheme.bits - 1)
    zeros = torch.zeros_like(made.scales) if made.zero_points is None else made.zero_points - middle
    return Codes(
        (made.elements - middle).to(torch.int8),
        made.scales.to(_SCALES[scheme.scale]),
        zeros.to(torch.int8),
        scheme.bits,
    )
