"""Mean and standard error of a quantity that arrives in independent units of different size."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

_SUMS = ("_units", "_w", "_ww", "_y", "_yy", "_wy")


class Moments:
    r"""Running estimate of a mean per sample, for every cell of a table.

    A unit ``u`` (a sample, or a whole batch) brings the sum ``y_u`` over its ``w_u`` samples. The mean is
    ``m = sum(y) / sum(w)``. Its variance, that of a ratio estimator (Cochran, 1977, *Sampling Techniques*, chapter 6),
    is ``U / (U - 1) * sum((y - m w)^2) / sum(w)^2`` for ``U`` units; with all ``w = 1`` these are the usual mean and
    its standard error.

    Parameters
    ----------
    rows, columns
        Shape of the table.
    """

    def __init__(self, rows: int, columns: int) -> None:
        self._units = torch.zeros(rows, 1, dtype=torch.float64)
        self._w = torch.zeros(rows, 1, dtype=torch.float64)
        self._ww = torch.zeros(rows, 1, dtype=torch.float64)
        self._y = torch.zeros(rows, columns, dtype=torch.float64)
        self._yy = torch.zeros(rows, columns, columns, dtype=torch.float64)
        self._wy = torch.zeros(rows, columns, dtype=torch.float64)

    def add(self, row: int, sums: Tensor, sizes: Tensor) -> None:
        """Add units to one row.

        Parameters
        ----------
        row
            The row.
        sums
            ``(n_units, n_columns)`` float64, the sum over each unit's samples.
        sizes
            ``(n_units,)`` float64: samples in each of these units.
        """
        self._units[row] += len(sums)
        self._w[row] += sizes.sum()
        self._ww[row] += sizes.square().sum()
        self._y[row] += sums.sum(dim=0)
        self._yy[row] += sums.T @ sums
        self._wy[row] += sizes @ sums

    @property
    def units(self) -> Tensor:
        """``(rows, 1)`` float64: how many units each row has had."""
        return self._units

    def state(self) -> dict[str, Tensor]:
        """Everything that was added up, by name; `restore` takes it back."""
        return {name: getattr(self, name).clone() for name in _SUMS}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state` gave."""
        for name in _SUMS:
            setattr(self, name, state[name].clone())

    @property
    def mean(self) -> Tensor:
        """``(rows, columns)`` float64."""
        return self._y / self._w

    @property
    def stderr(self) -> Tensor:
        """``(rows, columns)`` float64; nan for a row with a single unit."""
        mean = self.mean
        squares = self._yy.diagonal(dim1=1, dim2=2)
        spread = (squares - 2 * mean * self._wy + mean.square() * self._ww).clamp(min=0)
        variance = self._units / (self._units - 1) * spread / self._w.square()
        return torch.where(self._units > 1, variance.sqrt(), torch.nan)

    def separation(self, row: int, first: int, second: int) -> tuple[float, float]:
        """How far two columns of a row are apart, and its standard error; both are taken unit by unit.

        Columns share their samples, and a few samples may carry most of a mean. Both leave the ratio of two means much
        better known than their difference, so for means of one sign this is the logarithm of their ratio, with the
        error to first order, that of ``mean(y_a) / m_a - mean(y_b) / m_b``; otherwise it is their difference.

        Parameters
        ----------
        row
            The row.
        first, second
            The columns.

        Returns
        -------
        distance, stderr
            In the same unit as each other; nan errors for a single unit.
        """
        a, b = float(self.mean[row, first]), float(self.mean[row, second])
        aa, ab, bb = (float(self._yy[row, i, j]) for i, j in ((first, first), (first, second), (second, second)))
        ww, units, weight = float(self._ww[row]), float(self._units[row]), float(self._w[row])
        if a * b > 0:
            distance = abs(math.log(a / b))
            spread = aa / a**2 - 2 * ab / (a * b) + bb / b**2
        else:
            d, wd = a - b, float(self._wy[row, first] - self._wy[row, second])
            distance = abs(d)
            spread = aa - 2 * ab + bb - 2 * d * wd + d**2 * ww
        if units < 2:
            return distance, math.nan
        return distance, math.sqrt(max(0.0, spread) * units / (units - 1)) / weight
