"""Bounds on the groups of a one-budget core that are still to come, and which of their choices still matter.

A selection that beats the incumbent changes few groups, and once most of the budget is spoken for, most changes cannot
be part of one. So the choices still to come are tested against all states at once, instead of group by group (Pisinger
1995, *A minimal algorithm for the multiple-choice knapsack problem*, tests each group as it enters).
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from ..problem.arrays import run_bounds

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..core.reduction import Core


@dataclasses.dataclass(frozen=True, eq=False)
class Choices:
    """Choices of a core other than the references, group by group in the order in which groups enter.

    Attributes
    ----------
    index
        ``(n,)`` int64 index into the arrays of the core.
    group
        ``(n,)`` int64 group of the core.
    cost, value, reduced
        ``(n,)`` as in the core.
    gradient
        ``(n,)`` float64 reduced cost per unit of cost used or shed.
    """

    index: NDArray[np.int64]
    group: NDArray[np.int64]
    cost: NDArray[np.int64]
    value: NDArray[np.float64]
    reduced: NDArray[np.float64]
    gradient: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.index)

    @classmethod
    def of(cls, core: Core) -> Choices:
        """All of them, groups by rising smallest gradient: those most likely to leave their reference come first."""
        size = core.start[1:] - core.start[:-1]
        others = np.ones(len(core.position), dtype=bool)
        others[core.start[:-1]] = False
        index = others.nonzero()[0]
        group = np.arange(len(size)).repeat(size - 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            gradient = core.reduced[index] / np.abs(core.cost[0, index])
        if len(size):
            smallest = np.minimum.reduceat(gradient, core.start[:-1] - np.arange(len(size)))
            order = smallest[group].argsort(kind="stable")  # ties by group, as a sort of the groups would have them
            index, group, gradient = index[order], group[order], gradient[order]
        return cls(index, group, core.cost[0, index], core.value[index], core.reduced[index], gradient)

    def those(self, keep: NDArray[np.bool_]) -> Choices:
        """Some of them."""
        at = keep.nonzero()[0]
        if len(at) == len(keep):
            return self
        return Choices(
            self.index[at], self.group[at], self.cost[at], self.value[at], self.reduced[at], self.gradient[at]
        )

    def after(self, first: int) -> Choices:
        """Those from a place on."""
        return Choices(
            self.index[first:],
            self.group[first:],
            self.cost[first:],
            self.value[first:],
            self.reduced[first:],
            self.gradient[first:],
        )

    def owed(self, room: NDArray[np.int64], price: float) -> NDArray[np.float64]:
        """What they, and unused budget, add at least to selections that leave so much room; ``inf`` if nothing can."""
        rises = self.cost > 0
        up = self.gradient[rises].min(initial=price)
        down = self.gradient[~rises].min(initial=np.inf)
        least: NDArray[np.float64] = np.where(room > 0, room * up, 0.0)
        np.multiply(room, -down, out=least, where=room < 0)
        return least


@dataclasses.dataclass(frozen=True, eq=False)
class Remaining:
    """The groups that are still to come, and bounds from each of them on; the last entry stands for no group at all.

    Attributes
    ----------
    choices
        Their choices.
    begin
        ``(n_groups + 1,)`` int64 where each group's choices begin.
    up
        ``(n_groups + 1,)`` float64 least reduced cost per unit of budget used, at most the price of leaving it unused.
    down
        ``(n_groups + 1,)`` float64 least reduced cost per unit of cost shed.
    shed
        ``(n_groups + 1,)`` int64 most cost that can be shed.
    """

    choices: Choices
    begin: NDArray[np.int64]
    up: NDArray[np.float64]
    down: NDArray[np.float64]
    shed: NDArray[np.int64]

    @property
    def n_groups(self) -> int:
        """How many groups are still to come."""
        return len(self.begin) - 1

    @classmethod
    def of(cls, choices: Choices, price: float) -> Remaining:
        """Bounds along some choices."""
        begin = run_bounds(choices.group)
        own, n = begin[:-1], len(begin) - 1
        up, down, shed = np.full(n + 1, price), np.zeros(n + 1), np.zeros(n + 1, dtype=np.int64)
        if n:
            rises = choices.cost > 0
            rise = np.minimum.reduceat(np.where(rises, choices.gradient, np.inf), own)
            fall = np.minimum.reduceat(np.where(rises, np.inf, choices.gradient), own)
            most = np.maximum.reduceat(-choices.cost, own)
            up[:n] = np.minimum(np.minimum.accumulate(rise[::-1])[::-1], price)
            down[:n] = np.minimum.accumulate(fall[::-1])[::-1]
            shed[:n] = np.cumsum(np.maximum(most, 0)[::-1])[::-1]
            down[shed == 0] = 0.0
        return cls(choices, begin, up, down, shed)

    def owed(self, first: int, room: NDArray[np.int64]) -> NDArray[np.float64]:
        """What the groups from one on, and unused budget, add at least to selections that leave so much room."""
        least: NDArray[np.float64] = np.maximum(room * self.up[first], room * -self.down[first])
        return least
