"""Learns by gradient descent which of two neighbouring codes every weight gets, and a factor for its row's scale.

Between the codes that a weight begins with and the neighbour on the side of the float weight a number from 0 to 1 is
learned, the sigmoid stretched over the ends and cut there, and a term that grows sharper drives it to either end (Nagel
et al., 2020, *Up or Down? Adaptive Rounding for Post-Training Quantization*, equations 21 to 24).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_LOW, _HIGH = -0.1, 1.1  # the sigmoid is stretched to these and cut at 0 and 1
_BEGIN, _NEAR, _FAR = 0.2, 0.05, 0.45  # the share of steps without the term; where the learned numbers may begin
_SHARPEST, _BLUNTEST = 2.0, 20.0  # exponents of the term, from blunt to sharp
_WEIGHT = 20.0  # of the term, where rounding every weight to nearest has a loss of 1
_SCALE_RATE = 0.001  # the rate of scales, as a share of that of the rounding


@dataclass(frozen=True, eq=False)
class Codes:
    """Codes less their zero points, and what they are multiplied with; all of one shape whose last dimension is a row.

    Attributes
    ----------
    steps
        Whole numbers.
    scale
        Positive.
    least, most
        The range of `steps`.
    free
        ``(..., rows, 1)`` bool: whether the row's scales may change.
    """

    steps: Tensor
    scale: Tensor
    least: Tensor
    most: Tensor
    free: Tensor

    @property
    def values(self) -> Tensor:
        """The weights."""
        return self.steps * self.scale

    def nearest(self, target: Tensor) -> Tensor:
        """The weights with every code the one nearest to the target."""
        steps = (target / self.scale).round()
        return torch.minimum(torch.maximum(steps, self.least), self.most) * self.scale

    def shaped(self, shape: Sequence[int]) -> Codes:
        """The same in another shape with the same rows."""
        return self._each(lambda own: own.reshape(*shape[:-1], own.shape[-1]))

    def to(self, dtype: torch.dtype) -> Codes:
        """The same in another floating-point dtype."""
        return self._each(lambda own: own.to(dtype) if own.is_floating_point() else own)

    def split(self, rows: int) -> list[Codes]:
        """The codes of so many rows at a time, along the last dimension but one."""
        count = self.steps.shape[-2] // rows
        pieces = [slice(at * rows, (at + 1) * rows) for at in range(count)]
        return [
            Codes(*(getattr(self, each.name)[..., piece, :] for each in dataclasses.fields(self))) for piece in pieces
        ]

    @classmethod
    def joined(cls, parts: Sequence[Codes]) -> Codes:
        """The rows of several one after another: undoes `split`."""
        names = [each.name for each in dataclasses.fields(cls)]
        return cls(*(torch.cat([getattr(part, name) for part in parts], dim=-2) for name in names))

    def _each(self, change: Callable[[Tensor], Tensor]) -> Codes:
        return Codes(*(change(getattr(self, each.name)) for each in dataclasses.fields(self)))


def learn(begin: Codes, target: Tensor, loss: Callable[[Tensor, int], Tensor], steps: int, rate: float) -> Codes:
    """Learn the codes.

    Parameters
    ----------
    begin
        Where to begin, floating point.
    target
        The float weights: they say on which side of a code its neighbour is.
    loss
        From weights and the number of the step to a scalar; about 1 for weights rounded to nearest.
    steps
        How many.
    rate
        Of Adam (Kingma and Ba, 2015), for the numbers before the sigmoid; that of scales is a fixed share of it.

    Returns
    -------
    learned
        Codes in range; scales are not yet rounded to what they are stored as.
    """
    wanted = target / begin.scale
    side = torch.where(wanted >= begin.steps, 1.0, -1.0).to(target)
    side = torch.where(begin.steps + side > begin.most, -1.0, side)
    side = torch.where(begin.steps + side < begin.least, 1.0, side)
    share = ((wanted - begin.steps) * side).clamp(_NEAR, _FAR)
    hidden = torch.logit((share - _LOW) / (_HIGH - _LOW)).requires_grad_()
    factor = torch.zeros_like(begin.scale[..., :1]).requires_grad_()
    adam = torch.optim.Adam([{"params": [hidden], "lr": rate}, {"params": [factor], "lr": rate * _SCALE_RATE}])
    for step in range(steps):
        up = _between(hidden)
        scale = begin.scale * torch.where(begin.free, factor.exp(), 1.0)
        value = loss((begin.steps + side * up) * scale, step)
        late = (step / steps - _BEGIN) / (1 - _BEGIN)
        if late >= 0:
            exponent = _BLUNTEST + (_SHARPEST - _BLUNTEST) * late
            value = value + _WEIGHT * (1 - (2 * up - 1).abs().pow(exponent)).mean()
        adam.zero_grad()
        value.backward()
        adam.step()
    with torch.no_grad():
        found = begin.steps + side * (_between(hidden) > 0.5)
        scale = begin.scale * torch.where(begin.free, factor.exp(), 1.0)
    return dataclasses.replace(begin, steps=found, scale=scale)


def _between(hidden: Tensor) -> Tensor:
    return (hidden.sigmoid() * (_HIGH - _LOW) + _LOW).clamp(0, 1)
