"""Mean and standard error of a quantity that arrives in independent units of different size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


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
        self._yy = torch.zeros(rows, columns, dtype=torch.float64)
        self._wy = torch.zeros(rows, columns, dtype=torch.float64)

    def add(self, row: int, sums: Tensor, size: int) -> None:
        """Add units to one row.

        Parameters
        ----------
        row
            The row.
        sums
            ``(n_units, n_columns)`` float64, the sum over each unit's samples.
        size
            Samples in each of these units.
        """
        total = sums.sum(dim=0)
        self._units[row] += len(sums)
        self._w[row] += size * len(sums)
        self._ww[row] += size**2 * len(sums)
        self._y[row] += total
        self._yy[row] += sums.square().sum(dim=0)
        self._wy[row] += size * total

    @property
    def mean(self) -> Tensor:
        """``(rows, columns)`` float64."""
        return self._y / self._w

    @property
    def stderr(self) -> Tensor:
        """``(rows, columns)`` float64; nan for a row with a single unit."""
        mean = self.mean
        spread = (self._yy - 2 * mean * self._wy + mean.square() * self._ww).clamp(min=0)
        variance = self._units / (self._units - 1) * spread / self._w.square()
        return torch.where(self._units > 1, variance.sqrt(), torch.nan)
