"""From a table and budgets to a multiple-choice knapsack problem, and the way back from labels to formats."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .activations import PEAKS, peak_budgets
from .choices import allowed
from .costs import as_budget, cost_matrix
from .errors import InvalidInput, unknown
from .formats import Format
from .solvers import InvalidProblem, NoSolution, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from .activations import Tensor
    from .cost_tables import CostTable
    from .costs import Budget
    from .sensitivity.table import SensitivityTable
    from .structure import Structure
    from .units import Amount

_SAFE = 2.0**62  # sums below it fit in 64 bits however they are rounded on the way


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
    activations
        The activation tensors, where a budget limits their peak.
    """

    layers: tuple[str, ...]
    formats: tuple[Format, ...]
    groups: tuple[tuple[int, ...], ...]
    budgets: tuple[Budget, ...]
    pinned: tuple[tuple[str, str], ...] = ()
    activations: tuple[Tensor, ...] = ()

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
    at_least: Mapping[str, Amount] | None = None,
    costs: Sequence[CostTable] = (),
    choices: Mapping[str, Sequence[str]] | None = None,
    target: str | None = None,
    structure: Structure | None = None,
    activations: Sequence[Tensor] = (),
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
    at_least
        Minima, from names to amounts as in `budgets`. In the problem a minimum is a limit on the complement: on how
        much less than its costliest choice each group takes.
    costs
        Costs that were measured, such as latencies; their names may then stand in `budgets` and `at_least`.
    choices
        From layers, patterns or ``"kind:linear"`` to the names of the formats that these may have, see `allowed`.
    target
        The export target that must take the formats, see `capabilities.TARGETS`.
    structure
        Constraints on the policy as a whole, which only some solvers take.
    activations
        The activation tensors, for the budgets ``"activation_bytes"`` and ``"total_bytes"``: these limit the peak over
        the execution order and make one resource of each step that can be the peak.

    Returns
    -------
    problem
        The problem; groups are in the order of their first layers, resources in the order of `budgets` and `at_least`.
    index
        What its groups, labels and resources mean.

    Raises
    ------
    InvalidInput
        When a name is unknown, tied sets overlap, pins disagree within a set, or nothing is allowed for a layer.
    NoSolution
        When a minimum is more than the costliest formats take, or activations in floating point exceed a peak.
    """
    if not budgets and not at_least:
        raise InvalidInput("no budget given: name at least one, such as weight_bytes='90kB'")
    groups = _groups(table, tied)
    limits = _limits(table, groups, budgets, at_least or {}, costs, activations)
    if choices or target is not None:
        # Amounts in percent are of the whole table, so they were read before its choices were narrowed.
        table = dataclasses.replace(table, loss=np.where(allowed(table, choices, target), table.loss, np.nan))
    pins = _pins(table, groups, pinned or {})
    columns = range(len(table.formats))
    value = np.array([[_sum(table.loss[list(rows), column]) for column in columns] for rows in groups])
    for group, column in pins.items():
        value[group, np.arange(len(table.formats)) != column] = np.nan
    _check_choices(table, groups, value)
    prices, most = [], []
    for limit, cost in limits:
        price = _merged(cost_matrix(limit.name, table, costs) if cost is None else cost, groups)
        bound = limit.limit - limit.fixed
        if limit.least:
            price, bound = _complement(price, bound, np.isnan(value))
        _check_bound(limit, bound)
        prices.append(price)
        most.append(bound)
    try:
        problem = Problem.from_table(value, np.array(prices), most)
    except InvalidProblem as error:
        names = ", ".join(f"resource {at} is {limit.name}" for at, (limit, _) in enumerate(limits))
        raise InvalidInput(f"the table makes no problem: {error} ({names})") from error
    index = Index(
        layers=table.layer_names,
        formats=table.formats,
        groups=groups,
        budgets=tuple(limit for limit, _ in limits),
        pinned=tuple(
            (table.layers[row].name, table.formats[column].name)
            for group, column in sorted(pins.items())
            for row in groups[group]
        ),
        activations=tuple(activations),
    )
    rows = None if structure is None else structure.rows(problem, index)
    return (problem if rows is None else dataclasses.replace(problem, rows=rows)), index


def _limits(
    table: SensitivityTable,
    groups: tuple[tuple[int, ...], ...],
    budgets: Mapping[str, Amount],
    at_least: Mapping[str, Amount],
    costs: Sequence[CostTable],
    activations: Sequence[Tensor],
) -> list[tuple[Budget, NDArray[np.int64] | None]]:
    """Every budget, with its costs where these are more than a function of layer and format."""
    found: list[tuple[Budget, NDArray[np.int64] | None]] = []
    for name, asked in budgets.items():
        if name in PEAKS:
            found += peak_budgets(name, asked, table, groups, activations)
        else:
            found.append((as_budget(name, asked, table, costs), None))
    for name, asked in at_least.items():
        if name in PEAKS:
            raise InvalidInput(f"a peak has no minimum: {name} can be limited from above only")
        found.append((as_budget(name, asked, table, costs, least=True), None))
    return found


def _check_bound(limit: Budget, bound: int) -> None:
    if bound >= 0:
        return
    if limit.least:
        told = f"even the costliest formats take {limit.in_units(limit.limit + bound)}, the most that works"
    else:
        told = f"activations that stay in floating point take {limit.in_units(limit.fixed)} by themselves"
    raise NoSolution(f"budget {limit} cannot be met: {told}")


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


def _merged(cost: NDArray[np.int64], groups: tuple[tuple[int, ...], ...]) -> NDArray[Any]:
    """Sums over tied sets, in Python's integers where they may leave 64 bits: Problem says so where they do."""
    order = np.array([row for rows in groups for row in rows])
    first = np.cumsum([0, *(len(rows) for rows in groups)])[:-1]
    if cost.sum(axis=0, dtype=np.float64).max() < _SAFE:
        return np.asarray(np.add.reduceat(cost[order], first, axis=0))
    return np.array([[sum(cost[list(rows), at].tolist()) for at in range(cost.shape[1])] for rows in groups], object)


def _complement(price: NDArray[Any], least: int, barred: NDArray[np.bool_]) -> tuple[NDArray[Any], int]:
    """What each choice falls short of the costliest one of its group, and by how much all may fall short together."""
    tops = np.where(barred, 0, price).max(axis=1)
    return np.where(barred, 0, tops[:, None] - price), sum(tops.tolist()) - least
