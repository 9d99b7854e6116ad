"""Mean and standard error of a quantity that arrives in independent units of different size."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping

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
        self._columns = columns
        # Units, w, w^2, y, w y, and the products of y: one sum after the other.
        self._high = torch.zeros(rows, 3 + 2 * columns + columns**2, dtype=torch.float64)
        # What rounding took from each sum: with it the totals do not depend on the order, nor on who added what.
        self._low = torch.zeros_like(self._high)

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
        counts = torch.stack([torch.tensor(len(sums), dtype=torch.float64), sizes.sum(), sizes.square().sum()])
        products = (sums.T @ sums).flatten()
        self._add(slice(row, row + 1), torch.cat([counts, sums.sum(dim=0), sizes @ sums, products]))

    def merge(self, other: Moments) -> None:
        """Add all units of another estimate, of the same table."""
        self._add(slice(None), other._high)
        self._add(slice(None), other._low)

    def _add(self, rows: slice, more: Tensor) -> None:
        """Add with the rounding error kept (Knuth, 1969, *Seminumerical Algorithms*, section 4.2.2, theorem B)."""
        before = self._high[rows].clone()
        after = before + more
        taken = after - before
        self._high[rows] = after
        self._low[rows] += (before - (after - taken)) + (more - taken)

    def _sums(self, first: int, count: int) -> Tensor:
        return self._high[:, first : first + count] + self._low[:, first : first + count]

    @property
    def _y(self) -> Tensor:
        return self._sums(3, self._columns)

    @property
    def _wy(self) -> Tensor:
        return self._sums(3 + self._columns, self._columns)

    def _products(self, row: int | slice) -> Tensor:
        """``(columns, columns)`` of a row, or ``(rows, columns, columns)``."""
        first = 3 + 2 * self._columns
        flat = self._high[row, first:] + self._low[row, first:]
        return flat.reshape(*flat.shape[:-1], self._columns, self._columns)

    @property
    def units(self) -> Tensor:
        """``(rows, 1)`` float64: how many units each row has had."""
        return self._sums(0, 1)

    def state(self) -> dict[str, Tensor]:
        """Everything that was added up, by name; `restore` takes it back."""
        return {"high": self._high.clone(), "low": self._low.clone()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state` gave."""
        self._high, self._low = (state[name].clone().reshape(self._high.shape) for name in ("high", "low"))

    @property
    def mean(self) -> Tensor:
        """``(rows, columns)`` float64."""
        return self._y / self._sums(1, 1)

    @property
    def stderr(self) -> Tensor:
        """``(rows, columns)`` float64; nan for a row with a single unit."""
        mean, units = self.mean, self.units
        squares = self._products(slice(None)).diagonal(dim1=1, dim2=2)
        spread = (squares - 2 * mean * self._wy + mean.square() * self._sums(2, 1)).clamp(min=0)
        variance = units / (units - 1) * spread / self._sums(1, 1).square()
        return torch.where(units > 1, variance.sqrt(), torch.nan)

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
        products = self._products(row)
        aa, ab, bb = (float(products[i, j]) for i, j in ((first, first), (first, second), (second, second)))
        units, weight, ww = (self._high[row, :3] + self._low[row, :3]).tolist()
        a, b = (float(self._y[row, column]) / weight for column in (first, second))
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
