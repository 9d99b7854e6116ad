"""The numbers that weights may take once their scales are fixed, for many rows and formats side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor

if TYPE_CHECKING:
    from ..arithmetic import SmallFloat


@dataclass(frozen=True, eq=False)
class IntegerGrid:
    """Whole numbers times a scale: codes less their zero point.

    Attributes
    ----------
    scale
        ``(groups, n, rows)``, positive.
    least, most
        ``(groups, n, rows)``: the range of a code less its zero point.
    """

    scale: Tensor
    least: Tensor
    most: Tensor

    def steps(self, numbers: Tensor, at: int | slice) -> Tensor:
        """The nearest step for numbers of the columns `at`."""
        steps = (numbers / self.scale[:, at]).round_()
        return torch.minimum(torch.maximum(steps, self.least[:, at]), self.most[:, at])

    def picked(self, at: Tensor) -> IntegerGrid:
        """The grid of some rows, by their positions ``(groups, n, rows)``."""
        return IntegerGrid(self.scale.gather(2, at), self.least.gather(2, at), self.most.gather(2, at))


@dataclass(frozen=True, eq=False)
class FloatGrid:
    """Numbers of a small floating-point type times a scale, ``(groups, n, rows)``."""

    scale: Tensor
    kind: SmallFloat

    def steps(self, numbers: Tensor, at: int | slice) -> Tensor:
        """The nearest number of the type."""
        return self.kind.round(numbers / self.scale[:, at])

    def picked(self, at: Tensor) -> FloatGrid:
        """The grid of some rows, by their positions ``(groups, n, rows)``."""
        return FloatGrid(self.scale.gather(2, at), self.kind)


@dataclass(frozen=True, eq=False)
class SignGrid:
    """Plus or minus a scale, ``(groups, n, rows)``; plus for zero."""

    scale: Tensor

    def steps(self, numbers: Tensor, at: int | slice) -> Tensor:
        """The sign."""
        return torch.where(numbers < 0, -1.0, 1.0).to(numbers)

    def picked(self, at: Tensor) -> SignGrid:
        """The grid of some rows, by their positions ``(groups, n, rows)``."""
        return SignGrid(self.scale.gather(2, at))


Grid: TypeAlias = IntegerGrid | FloatGrid | SignGrid
