"""What GPTQ begins with: nearest's codes and scales of some rows, and candidates for better scales side by side.

Columns are in the order in which they are rounded, see `columns`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from ..arithmetic import SMALL_FLOATS, stored_scale
from .grids import FloatGrid, IntegerGrid, SignGrid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from ...formats.format import Format
    from ...formats.schemes import WeightScheme
    from ..encoded import EncodedWeight
    from .grids import Grid


@dataclass(frozen=True, eq=False)
class Start:
    """Some rows of a weight in one format as nearest has them: what a candidate begins with."""

    order: Tensor  # (groups, n): which column comes when
    scheme: WeightScheme
    scale: Tensor  # (groups, rows, scales of a row)
    zero: Tensor | None
    above: float
    steps: Tensor  # (groups, n, rows), nearest's

    @classmethod
    def of(cls, entry: Format, encoded: EncodedWeight, order: Tensor, rows: slice) -> Start:
        """Take what nearest made of some rows."""
        scheme = entry.weight_scheme
        assert scheme is not None
        groups, n = order.shape
        count = encoded.elements.numel() // (groups * n)

        def own(tensor: Tensor) -> Tensor:
            wide = tensor.double()
            wide = wide.expand(groups * count, 1) if scheme.granularity == "tensor" else wide
            return wide.reshape(groups, count, -1)[:, rows]

        zero = None if encoded.zero_points is None else own(encoded.zero_points)
        codes = encoded.elements.double().reshape(groups, count, n)[:, rows]
        steps = codes if zero is None else codes - spread(zero, scheme, n)
        return cls(order, scheme, own(encoded.scales), zero, encoded.tensor_scale, in_order(steps, order))

    def scaled(self, share: float) -> Start:
        """The same with its scales times a number, rounded to what they are stored as."""
        if share == 1:
            return self
        stored = stored_scale(self.scale * share, self.scheme).double()
        return dataclasses.replace(self, scale=torch.where(stored > 0, stored, self.scale))

    def columns(self) -> Tensor:
        """The scale of every weight, ``(groups, n, rows)``, columns in order."""
        return in_order(spread(self.scale * self.above, self.scheme, self.order.shape[1]), self.order)

    def bounds(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """The range of steps, ``(groups, n, rows)`` each."""
        top = 2 ** (self.scheme.bits - 1) - 1
        if self.zero is None:
            return torch.full_like(like, -top), torch.full_like(like, top)
        zero = in_order(spread(self.zero, self.scheme, like.shape[1]), self.order)
        return -zero, 2**self.scheme.bits - 1 - zero


def in_order(numbers: Tensor, order: Tensor) -> Tensor:
    """``(groups, n, rows)`` with columns in order, from ``(groups, rows, n)``."""
    return numbers.gather(2, order[:, None, :].expand_as(numbers)).transpose(1, 2)


def candidates(entry: Format, scales: tuple[float, ...]) -> tuple[float, ...]:
    """What nearest's scales may be multiplied by: where a row has none of its own, or a block's is coarse, nothing."""
    scheme = entry.weight_scheme
    free = scheme is not None and scheme.family == "integer" and scheme.granularity != "tensor"
    return scales if free else (1.0,)


def spread(of_groups: Tensor, scheme: WeightScheme, n: int) -> Tensor:
    """``(groups, rows, n)``: for every weight what belongs to its group."""
    if scheme.group_size is None:
        return of_groups.expand(-1, -1, n)
    return of_groups.repeat_interleave(scheme.group_size, dim=2)[:, :, :n]


def picked_scales(scales: Sequence[Tensor], best: Tensor) -> Tensor:
    """For every row the scales of its best candidate."""
    stacked = torch.stack(list(scales), dim=1)  # (groups, candidates, rows, scales of a row)
    at = best[:, None, :, None].expand(-1, 1, -1, stacked.shape[3])
    return stacked.gather(1, at).squeeze(1)


def joined_grid(scales: Sequence[Tensor], bounds: Sequence[tuple[Tensor, Tensor]], entry: Format) -> Grid:
    """One grid for many candidates of one kind side by side."""
    scale, scheme = torch.cat(list(scales), dim=2).contiguous(), entry.weight_scheme
    assert scheme is not None
    if scheme.family != "integer":
        return FloatGrid(scale, SMALL_FLOATS[scheme.element])
    if scheme.bits == 1:
        return SignGrid(scale)
    least, most = (torch.cat(list(each), dim=2).contiguous() for each in zip(*bounds, strict=True))
    return IntegerGrid(scale, least, most)
