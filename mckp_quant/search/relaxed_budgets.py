"""The budgets of a space at continuous ranks, where costs are linear between neighbouring formats."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .space import Space

_HALVINGS = 50


class RelaxedBudgets:
    """What continuous ranks take of the budgets.

    Parameters
    ----------
    space
        The ranks and what they cost. The cheapest rank of every group together must be within the budgets.

    Attributes
    ----------
    top
        ``(n_groups,)`` float64: the last rank of every group.
    """

    def __init__(self, space: Space) -> None:
        self.top: NDArray[np.float64] = (space.size - 1).astype(np.float64)
        budget = np.maximum(np.array(space.budget, dtype=np.float64), 1.0)
        width = int(space.size.max())
        self._share = np.empty((len(budget), len(space), width))
        for group in range(len(space)):
            cost = space.costs(group) / budget[:, None]
            self._share[:, group] = np.pad(cost, ((0, 0), (0, width - cost.shape[1])), mode="edge")

    def used(self, rank: NDArray[np.float64]) -> NDArray[np.float64]:
        """``(n_budgets,)`` what the ranks take, as shares of the budgets."""
        floor, part = self._split(rank)
        below, above = self._around(floor)
        total: NDArray[np.float64] = ((1 - part) * below + part * above).sum(axis=1)
        return total

    def charge(self, rank: NDArray[np.float64]) -> NDArray[np.float64]:
        """``(n_groups,)`` how fast the share of the fullest budget rises with each rank; at least 0."""
        floor, _ = self._split(rank)
        below, above = self._around(floor)
        slope: NDArray[np.float64] = np.maximum((above - below)[int(np.argmax(self.used(rank)))], 0.0)
        return slope

    def project(self, rank: NDArray[np.float64], direction: NDArray[np.float64]) -> NDArray[np.float64]:
        """Go back along a direction just as far as the budgets ask.

        Parameters
        ----------
        rank
            ``(n_groups,)`` float64.
        direction
            ``(n_groups,)`` float64, at least 0: how much each rank gives way. Where all that it names are at their
            cheapest and a budget is still exceeded, all others give way too.

        Returns
        -------
        rank
            ``(n_groups,)`` within 0 and `top`, and within the budgets to rounding.
        """
        start = np.clip(rank, 0.0, self.top)
        if (self.used(start) <= 1).all():
            return start
        for way in (direction, self.top):
            steepest = way.max()
            if not steepest > 0:
                continue
            scaled = way / steepest
            gives = scaled > 0
            most = float((start[gives] / scaled[gives]).max())
            low, high = 0.0, most
            for _ in range(_HALVINGS):
                middle = (low + high) / 2
                within = (self.used(np.maximum(start - middle * scaled, 0.0)) <= 1).all()
                low, high = (low, middle) if within else (middle, high)
            start = np.maximum(start - high * scaled, 0.0)
            if (self.used(start) <= 1).all():
                break
        return start

    def _split(self, rank: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        floor = np.minimum(np.floor(rank), np.maximum(self.top - 1, 0)).astype(np.int64)
        return floor, rank - floor

    def _around(self, floor: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        groups = np.arange(len(floor))
        above = np.minimum(floor + 1, self._share.shape[2] - 1)
        return self._share[:, groups, floor], self._share[:, groups, above]
