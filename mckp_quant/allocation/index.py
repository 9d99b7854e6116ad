"""The meaning of a problem's groups and labels: the way back from a selection to the formats of layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..common.renamed import renamed_fields
from ..errors import InvalidInput

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from ..costs.costs import Budget
    from ..formats.format import Format
    from ..layers import Activation
    from .constraints.conversion import Conversion


@renamed_fields(layers="layer_names")
@dataclass(frozen=True)
class Index:
    """What the rows and labels of a problem mean.

    Attributes
    ----------
    layer_names
        The names of the table's layers.
    formats
        The table's formats; the label of a choice is a position in here.
    groups
        For each group of the problem, the rows of the layers that it decides: one layer, or a tied set.
    budgets
        The budgets, one per resource of the problem.
    pinned
        Layer and format name of every layer that was pinned.
    activations
        The activation tensors, where a budget limits their peak.
    target
        The export target whose storage the costs count, or None.
    conversions
        The costs between neighbours of different formats.
    left_out
        Which formats the target does not take, and why, a sentence for each reason.
    """

    layer_names: tuple[str, ...]
    formats: tuple[Format, ...]
    groups: tuple[tuple[int, ...], ...]
    budgets: tuple[Budget, ...]
    pinned: tuple[tuple[str, str], ...] = ()
    activations: tuple[Activation, ...] = ()
    target: str | None = None
    conversions: tuple[Conversion, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def resources(self) -> tuple[str, ...]:
        """The names of the problem's resources."""
        return tuple(budget.name for budget in self.budgets)

    @property
    def tied(self) -> tuple[tuple[str, ...], ...]:
        """The sets of layers that share one choice."""
        return tuple(tuple(self.layer_names[row] for row in rows) for rows in self.groups if len(rows) > 1)

    def policy_formats(self, labels: ArrayLike) -> tuple[Format, ...]:
        """The format of every layer.

        Parameters
        ----------
        labels
            ``(n_groups,)`` integers, the label chosen in each group, such as `Solution.choice`.

        Returns
        -------
        formats
            One per layer, in the order of `layer_names`.

        Raises
        ------
        InvalidInput
            When there is not one label per group, or a label is no format.
        """
        chosen = np.asarray(labels)
        if chosen.shape != (len(self.groups),) or chosen.dtype.kind not in "iu":
            raise InvalidInput(f"labels have the shape {chosen.shape}: give {len(self.groups)} integers, one per group")
        column = np.empty(len(self.layer_names), dtype=np.int64)
        for rows, label in zip(self.groups, chosen.tolist(), strict=True):
            if not 0 <= label < len(self.formats):
                raise InvalidInput(f"label {label} is no format: there are {len(self.formats)} formats")
            column[list(rows)] = label
        return tuple(self.formats[at] for at in column.tolist())
