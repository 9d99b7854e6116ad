"""A weight as rows: one for each output channel, in the order in which scales and groups count its elements."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from ..formats.schemes import WeightScheme
    from ..layers import Layer

OUTPUTS_LAST = {"linear_transposed", "experts_transposed"}  # weights of (in, out)
_CHUNK_ELEMENTS = 2**17  # scales are searched in chunks of about this size, which bounds memory and stays in cache


def computed_in(dtype: torch.dtype) -> torch.dtype:
    """The dtype in which weights of a dtype are rounded: float32, or float64 for float64."""
    return dtype if dtype in {torch.float32, torch.float64} else torch.float32


def lies_in_rows(layer: Layer) -> bool:
    """Whether the weights of each channel lie together in its weight, in the order of `channel_rows`."""
    return layer.kind not in OUTPUTS_LAST and not layer.kind.startswith("conv_transpose")


def channel_rows(weight: Tensor, layer: Layer) -> Tensor:
    """``(channels, row)``: the weights of each output channel, row of an embedding, or output of an expert."""
    if layer.kind.startswith("conv_transpose"):
        groups = layer.known_channels // weight.shape[1]
        weight = weight.reshape(groups, -1, *weight.shape[1:]).transpose(1, 2)  # (groups, out/groups, in/groups, ...)
    if layer.kind in OUTPUTS_LAST:
        weight = weight.transpose(-1, -2).contiguous()  # sums then have the order that they have in other layers
    return weight.reshape(layer.known_channels, -1)


def from_channel_rows(rows: Tensor, layer: Layer) -> Tensor:
    """``layer.shape``: undoes `channel_rows`."""
    if layer.kind in OUTPUTS_LAST:
        *before, inputs, outputs = layer.shape
        return rows.reshape(*before, outputs, inputs).transpose(-1, -2).contiguous()
    if lies_in_rows(layer):
        return rows.reshape(layer.shape)
    inputs, outputs, *kernel = layer.shape
    groups = layer.known_channels // outputs
    grouped = rows.reshape(groups, outputs, inputs // groups, *kernel)
    return grouped.transpose(1, 2).reshape(layer.shape)


def scale_rows(weight: Tensor, scheme: WeightScheme, layer: Layer) -> tuple[Tensor, list[Tensor]]:
    """The weight as ``(channels, row)``, and as matrices whose rows have one scale each.

    There are two where groups do not divide the row: the whole groups, and the shorter ones at the ends of the rows.
    """
    weight = weight.detach()
    rows = channel_rows(weight.to(computed_in(weight.dtype)), layer)
    if scheme.granularity == "tensor":
        return rows, [rows.reshape(1, -1)]
    if scheme.group_size is None:
        return rows, [rows]
    whole = rows.shape[1] - rows.shape[1] % scheme.group_size
    parts = [rows[:, :whole].reshape(-1, scheme.group_size), rows[:, whole:]]
    return rows, [part for part in parts if part.numel()]


def chunks(unit: Tensor) -> Sequence[Tensor]:
    """Some rows at a time."""
    return torch.split(unit, max(1, _CHUNK_ELEMENTS // unit.shape[1]))


def joined(parts: Sequence[Tensor], rows: Tensor, count: int | None = None) -> Tensor:
    """Bring matrices with a row for each scale back to a row for each channel; a single one is not copied."""
    if len(parts) == 1:
        return parts[0].reshape(count or len(rows), -1)
    return torch.cat([part.reshape(count or len(rows), -1) for part in parts], dim=1).reshape(count or len(rows), -1)


def per_element(of_groups: Tensor, scheme: WeightScheme, layer: Layer) -> Tensor:
    """Give every weight the scale, or zero point, of its group.

    Parameters
    ----------
    of_groups
        ``(channels, groups)``, or ``(1, 1)`` for one of the whole tensor.
    scheme
        How the weight is stored.
    layer
        The facts about the weight.

    Returns
    -------
    of_elements
        ``(channels, row)``.
    """
    channels, row = layer.known_channels, layer.elements // layer.known_channels
    if scheme.group_size is None:
        return of_groups.expand(channels, row)
    return of_groups.repeat_interleave(scheme.group_size, dim=1)[:, :row]
