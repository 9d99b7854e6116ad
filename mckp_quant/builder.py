"""From a table and budgets to a multiple-choice knapsack problem, and the way back from labels to formats."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .costs import as_budget, cost_matrix
from .errors import InvalidInput, unknown
from .formats import Format
from .solvers import InvalidProblem, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from .costs import Budget
    from .sensitivity.table import SensitivityTable
    from .units import Amount


@dataclass(frozen=True)
class Index:
    """What the rows and labels of a problem mean.

    Attributes
    ----------
    layers
        The names of the table's layers.
    formats
        The table's formats; the label of a choice is a position in here.
    groups
        For each group of the problem, the rows of the layers that it decides: one layer, or a tied set.
    budgets
        The budgets, one per resource of the problem.
    pinned
        Layer and format name of every layer that was pinned.
    """

    layers: tuple[str, ...]
    formats: tuple[Format, ...]
    groups: tuple[tuple[int, ...], ...]
    budgets: tuple[Budget, ...]
    pinned: tuple[tuple[str, str], ...] = ()

    @property
    def resources(self) -> tuple[str, ...]:
        """The names of the problem's resources."""
        return tuple(budget.name for budget in self.budgets)

    @property
    def tied(self) -> tuple[tuple[str, ...], ...]:
        """The sets of layers that share one choice."""
        return tuple(tuple(self.layers[row] for row in rows) for rows in self.groups if len(rows) > 1)

    def policy_formats(self, labels: ArrayLike) -> tuple[Format, ...]:
        """The format of every layer.

        Parameters
        ----------
        labels
            ``(n_groups,)`` integers, the label chosen in each group, such as `Solution.choice`.

        Returns
        -------
        formats
            One per layer, in the order of `layers`.

        Raises
        ------
        InvalidInput
            When there is not one label per group, or a label is no format.
        """
        chosen = np.asarray(labels)
        if chosen.shape != (len(self.groups),) or chosen.dtype.kind not in "iu":
            raise InvalidInput(f"labels have the shape {chosen.shape}: give {len(self.groups)} integers, one per group")
        column = np.empty(len(self.layers), dtype=np.int64)
        for rows, label in zip(self.groups, chosen.tolist(), strict=True):
            if not 0 <= label < len(self.formats):
                raise InvalidInput(f"label {label} is no format: there are {len(self.formats)} formats")
            column[list(rows)] = label
        return tuple(self.formats[at] for at in column.tolist())


def build(
    table: SensitivityTable,
    budgets: Mapping[str, Amount],
    *,
    pinned: Mapping[str, str | Format] | None = None,
    tied: Sequence[Sequence[str]] = (),
) -> tuple[Problem, Index]:
    """Make the problem: one group per layer or tied set, one choice per format that is allowed there.

    Losses and costs of a tied set are the sums over its layers, and a format is allowed for the set only if it is for
    all of them. A pinned layer keeps its one format, and its cost counts. The table itself is not touched.

    Parameters
    ----------
    table
        The table; a nan loss marks a format that is not allowed.
    budgets
        From ``"weight_bytes"``, ``"bits_per_weight"`` or ``"bops"`` to an amount such as ``90_000``, ``"90kB"`` or
        ``"25%"``.
    pinned
        From layers to the format that each must have.
    tied
        Sets of layers that must share one format.

    Returns
    -------
    problem
        The problem; groups are in the order of their first layers.
    index
        What its groups, labels and resources mean.

    Raises
    ------
    InvalidInput
        When a name is unknown, tied sets overlap, pins disagree within a set, or nothing is allowed for a layer.
    """
    if not budgets:
        raise InvalidInput("no budget given: name at least one, such as weight_bytes='90kB'")
    groups = _groups(table, tied)
    pins = _pins(table, groups, pinned or {})
    limits = tuple(as_budget(name, asked, table) for name, asked in budgets.items())
    columns = range(len(table.formats))
    value = np.array([[_sum(table.loss[list(rows), column]) for column in columns] for rows in groups])
    for group, column in pins.items():
        value[group, np.arange(len(table.formats)) != column] = np.nan
    _check_choices(table, groups, value)
    costs = [_merged(cost_matrix(limit.name, table), groups) for limit in limits]
    try:
        problem = Problem.from_table(value, np.array(costs, dtype=object), [limit.limit for limit in limits])
    except InvalidProblem as error:
        names = ", ".join(f"resource {at} is {limit.name}" for at, limit in enumerate(limits))
        raise InvalidInput(f"the table makes no problem: {error} ({names})") from error
    index = Index(
        layers=table.layer_names,
        formats=table.formats,
        groups=groups,
        budgets=limits,
        pinned=tuple(
            (table.layers[row].name, table.formats[column].name)
            for group, column in sorted(pins.items())
            for row in groups[group]
        ),
    )
    return problem, index


def find_layer(table: SensitivityTable, name: str) -> int:
    """The row of a layer, also by the name of another module that uses the same weight; raises InvalidInput."""
    rows = {tie: row for row, layer in enumerate(table.layers) for tie in layer.ties}
    rows.update({layer.name: row for row, layer in enumerate(table.layers)})
    if name not in rows:
        raise unknown("layer", name, table.layer_names)
    return rows[name]


def _groups(table: SensitivityTable, tied: Sequence[Sequence[str]]) -> tuple[tuple[int, ...], ...]:
    owner: dict[int, tuple[int, ...]] = {}
    for names in tied:
        if isinstance(names, str):
            raise InvalidInput(f"the tied set {names!r} is one text: give the names of its layers one by one")
        rows = tuple(sorted({find_layer(table, name) for name in names}))
        for row in rows:
            if row in owner:
                raise InvalidInput(
                    f"layer {table.layers[row].name!r} stands in two tied sets: "
                    "make them one set, or take it out of one"
                )
            owner[row] = rows
    firsts = (owner.get(row, (row,)) for row in range(len(table.layers)))
    return tuple(rows for row, rows in enumerate(firsts) if rows[0] == row)


def _pins(
    table: SensitivityTable, groups: tuple[tuple[int, ...], ...], pinned: Mapping[str, str | Format]
) -> dict[int, int]:
    group_of = {row: group for group, rows in enumerate(groups) for row in rows}
    pins: dict[int, int] = {}
    said: dict[int, str] = {}
    for name, entry in pinned.items():
        row, column = find_layer(table, name), table.column(entry.name if isinstance(entry, Format) else entry)
        group = group_of[row]
        if pins.setdefault(group, column) != column:
            raise InvalidInput(
                f"layer {name!r} is pinned to {table.formats[column].name!r} but {said[group]!r}, which must have the "
                f"same format, is pinned to {table.formats[pins[group]].name!r}: pin both to one format"
            )
        said.setdefault(group, name)
        for member in groups[group]:
            if np.isnan(table.loss[member, column]):
                raise InvalidInput(
                    f"layer {name!r} is pinned to {table.formats[column].name!r}, which the table does not allow for "
                    f"{table.layers[member].name!r} (its loss is nan): pin it to another format, or measure this one"
                )
    return pins


def _check_choices(table: SensitivityTable, groups: tuple[tuple[int, ...], ...], value: NDArray[np.float64]) -> None:
    for rows, row_value in zip(groups, value, strict=True):
        if not np.isnan(row_value).all():
            continue
        for row in rows:
            if np.isnan(table.loss[row]).all():
                raise InvalidInput(
                    f"layer {table.layers[row].name!r} has no format that is allowed (every loss is nan): "
                    "measure it in at least one format, or leave it out of the table"
                )
        names = ", ".join(repr(table.layers[row].name) for row in rows)
        raise InvalidInput(f"the tied layers {names} have no format that is allowed for all of them: untie them")


def _sum(losses: NDArray[np.float64]) -> float:
    return math.nan if np.isnan(losses).any() else math.fsum(losses.tolist())


def _merged(cost: NDArray[np.int64], groups: tuple[tuple[int, ...], ...]) -> list[list[int]]:
    # Python integers: the sum over a tied set may leave 64 bits, and Problem says so where it does.
    return [[sum(cost[list(rows), column].tolist()) for column in range(cost.shape[1])] for rows in groups]
