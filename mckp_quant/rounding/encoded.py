"""A weight as a format stores it: codes with scales and zero points, blocks of ggml, or values of a user's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor

from ..errors import InvalidInput
from ..formats.blocks import GGML
from .ggml.encoding import decode_rows
from .rows import from_channel_rows, per_element

if TYPE_CHECKING:
    from ..formats.format import Format
    from ..formats.schemes import WeightScheme
    from ..layers import Layer

_SCALES = {"float32": torch.float32, "float16": torch.float16}


@dataclass(frozen=True, eq=False)
class EncodedWeight:
    """A weight as a format stores it, for programs that write it down.

    Row ``c`` is output channel ``c``, see `schemes.WeightScheme`. Element ``(c, i)`` stands for
    ``(elements[c, i] - zero_points[c, g]) * (scales[c, g] * tensor_scale)``, where ``g = i // group_size`` or, without
    groups, 0; for ``"tensor"`` granularity there is one scale for all rows.

    Attributes
    ----------
    elements
        ``(channels, row)``: whole numbers, or numbers of the format's small floating-point type, in any dtype that
        holds them.
    scales
        ``(channels, groups)`` or ``(1, 1)``, rounded to what they are stored as.
    zero_points
        Whole numbers of the shape of `scales`; None for symmetric formats.
    tensor_scale
        The scale above the others, 1 where the format has none.
    """

    elements: Tensor
    scales: Tensor
    zero_points: Tensor | None = None
    tensor_scale: float = 1.0

    @property
    def nbytes(self) -> int:
        """Bytes that the tensors take in memory."""
        held = (self.elements, self.scales, self.zero_points)
        return sum(each.numel() * each.element_size() for each in held if each is not None)

    def compact(self, entry: Format) -> EncodedWeight:
        """The same numbers in the smallest dtypes that hold them exactly: what a bank keeps.

        Parameters
        ----------
        entry
            The format.

        Returns
        -------
        encoded
            Codes as int8, or uint8 where they have a zero point; small floating-point numbers as float16; scales as the
            format stores them, of a float64 weight as they are.
        """
        scheme = entry.weight_scheme
        if scheme is None:
            return self
        codes = torch.float16
        if scheme.family == "integer":
            codes = torch.int8 if scheme.symmetric else torch.uint8
        scales = self.scales.to(_SCALES.get(scheme.scale, torch.float32))
        exact = bool((scales == self.scales).all())  # those of float64 networks may need more
        return EncodedWeight(
            self.elements.to(codes).contiguous(),
            (scales if exact else self.scales).contiguous(),
            None if self.zero_points is None else self.zero_points.to(torch.uint8).contiguous(),
            self.tensor_scale,
        )


@dataclass(frozen=True, eq=False)
class OpaqueWeight:
    """A weight in a format that has no codes here: a user's own. It can be applied, and not packed.

    Attributes
    ----------
    values
        ``(channels, row)``, in the order of `channel_rows`.
    """

    values: Tensor

    @property
    def nbytes(self) -> int:
        """Bytes that the values take in memory."""
        return self.values.numel() * self.values.element_size()

    def compact(self, entry: Format) -> OpaqueWeight:
        """Itself: nothing is known of how the values could be stored."""
        return self


@dataclass(frozen=True, eq=False)
class BlockWeight:
    """A weight in a format whose codes and scales lie together: blocks as they are in GGUF files.

    Attributes
    ----------
    data
        ``(channels, bytes)`` uint8; the last block of a row that is no multiple of it is filled up with zeros.
    """

    data: Tensor

    @property
    def nbytes(self) -> int:
        """Bytes that the blocks take in memory."""
        return self.data.numel()

    def compact(self, entry: Format) -> BlockWeight:
        """Itself: there is nothing smaller."""
        return self


StoredWeight: TypeAlias = EncodedWeight | OpaqueWeight | BlockWeight


def decode_weight(encoded: StoredWeight, entry: Format, layer: Layer, dtype: torch.dtype = torch.float32) -> Tensor:
    """Give the weight that a runtime computes with.

    Parameters
    ----------
    encoded
        The weight in the format.
    entry, layer
        The format, and the facts about the weight.
    dtype
        Of the result; the product of code and scale is taken in float32, or float64 for float64.

    Returns
    -------
    weight
        ``layer.shape``.

    Raises
    ------
    InvalidInput
        When the codes are not of this layer and format.
    """
    scheme = entry.weight_scheme
    row = layer.elements // layer.known_channels
    if isinstance(encoded, BlockWeight):
        return _decoded_blocks(encoded, scheme, entry, layer).to(dtype)
    if scheme is not None and scheme.family == GGML and not isinstance(encoded, OpaqueWeight):
        raise InvalidInput(f"layer {layer.name!r} has codes, but {entry.name!r} has blocks: they are another format's")
    numbers = encoded.values if isinstance(encoded, OpaqueWeight) else encoded.elements
    if tuple(numbers.shape) != (layer.known_channels, row):
        raise InvalidInput(
            f"the codes of layer {layer.name!r} in {entry.name!r} have the shape {tuple(numbers.shape)}, not "
            f"{(layer.known_channels, row)}: they are another layer's"
        )
    if isinstance(encoded, OpaqueWeight):
        return from_channel_rows(numbers.to(dtype), layer)
    if scheme is None:
        raise InvalidInput(
            f"layer {layer.name!r} has codes, but {entry.name!r} is no format that has any: they are another format's"
        )
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    _check_scales(encoded, scheme, entry, layer)
    elements = numbers.to(wide)
    if encoded.zero_points is not None:
        elements = elements - per_element(encoded.zero_points.to(wide), scheme, layer)
    scales = per_element(encoded.scales.to(wide), scheme, layer)
    if scheme.tensor_scale:
        scales = scales * encoded.tensor_scale
    limit = torch.finfo(wide).max
    return from_channel_rows((elements * scales).clamp_(-limit, limit), layer).to(dtype)


def _decoded_blocks(encoded: BlockWeight, scheme: WeightScheme | None, entry: Format, layer: Layer) -> Tensor:
    channels, row = layer.known_channels, layer.elements // layer.known_channels
    wanted = None
    if scheme is not None and scheme.family == GGML:
        wanted = (channels, scheme.storage_bits(layer) // 8 // channels)
    if scheme is None or tuple(encoded.data.shape) != wanted:
        raise InvalidInput(
            f"layer {layer.name!r} has blocks of the shape {tuple(encoded.data.shape)}, but in {entry.name!r} it has "
            f"{'none' if wanted is None else wanted}: they are another format's, or another layer's"
        )
    return from_channel_rows(decode_rows(encoded.data, scheme.element, row), layer)


def _check_scales(encoded: EncodedWeight, scheme: WeightScheme, entry: Format, layer: Layer) -> None:
    count = scheme.scales(layer)
    if encoded.scales.numel() != count or (encoded.zero_points is None) != scheme.symmetric:
        found = "no zero points" if encoded.zero_points is None else "zero points"
        raise InvalidInput(
            f"the codes of layer {layer.name!r} have {encoded.scales.numel()} scales and {found}, but {entry.name!r} "
            f"has {count} and {'none' if scheme.symmetric else 'zero points'}: they are another format's"
        )
