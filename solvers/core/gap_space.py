"""Choices relative to a reference selection: the gap space in which everything is compared."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from ..bounds.lagrangian import charge

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..problem.problem import Problem


@dataclasses.dataclass(frozen=True, eq=False)
class RelativeChoices:
    """The undominated choices relative to the reference selection.

    Attributes
    ----------
    price
        ``(n_resources,)`` float64.
    reference
        ``(n_groups,)`` int64 positions.
    position, group
        ``(n,)`` int64 of each choice.
    is_reference
        ``(n,)`` bool.
    value, reduced
        ``(n,)`` float64.
    cost
        ``(n_resources, n)`` int64.
    slack
        Budget less the cost of the reference, one exact integer per resource.
    """

    price: NDArray[np.float64]
    reference: NDArray[np.int64]
    position: NDArray[np.int64]
    group: NDArray[np.int64]
    is_reference: NDArray[np.bool_]
    value: NDArray[np.float64]
    cost: NDArray[np.int64]
    reduced: NDArray[np.float64]
    slack: tuple[int, ...]

    @classmethod
    def of(
        cls, problem: Problem, position: NDArray[np.int64], reference: NDArray[np.int64], price: NDArray[np.float64]
    ) -> RelativeChoices:
        """Choices at some positions, group by group, relative to a reference selection among them."""
        group = problem.group[position]
        # Differences first: they cancel exactly what the group has in common, so small groups keep their digits.
        value = problem.value[position]
        value -= problem.value[reference][group]
        cost = problem.cost[:, position]
        cost -= problem.cost[:, reference][:, group]
        reduced = charge(price, cost)
        reduced += value
        np.maximum(reduced, 0.0, out=reduced)
        slack = (problem.budget - problem.cost[:, reference].sum(axis=1)).tolist()
        is_reference = position == reference[group]
        return cls(price, reference, position, group, is_reference, value, cost, reduced, tuple(slack))

    def with_changes(self, changed: NDArray[np.int64]) -> NDArray[np.int64]:
        """The reference selection with some of the choices in place of its own."""
        selection = self.reference.copy()
        selection[self.group[changed]] = self.position[changed]
        return selection
