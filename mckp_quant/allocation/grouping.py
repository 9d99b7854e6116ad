"""The groups of a problem, from the rows of a table: tied layers share a group, and pinned ones have one format."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InvalidInput, unknown
from ..formats.format import Format

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from ..tables.table import SensitivityTable

Groups = tuple[tuple[int, ...], ...]  # the rows of the layers that each group decides

_SAFE = 2.0**62  # sums below it fit in 64 bits however they are rounded on the way


def find_layer(table: SensitivityTable, name: str) -> int:
    """The row of a layer, also by the name of another module that uses the same weight; raises InvalidInput."""
    rows = {tie: row for row, layer in enumerate(table.layers) for tie in layer.ties}
    rows.update({layer.name: row for row, layer in enumerate(table.layers)})
    if name not in rows:
        raise unknown("layer", name, table.layer_names)
    return rows[name]


def group(table: SensitivityTable, tied: Sequence[Sequence[str]], fused: Sequence[Sequence[str]] = ()) -> Groups:
    """Merge tied layers.

    Parameters
    ----------
    table
        The table.
    tied
        The user's sets of layers; none may stand in two of them.
    fused
        Sets that the target fuses; they join whatever they touch.

    Returns
    -------
    groups
        In the order of their first layers.

    Raises
    ------
    InvalidInput
        When a layer is unknown or stands in two of the user's sets.
    """
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
    for names in fused:
        parts = [find_layer(table, name) for name in names]
        rows = tuple(sorted({each for row in parts for each in owner.get(row, (row,))}))
        owner |= dict.fromkeys(rows, rows)
    firsts = (owner.get(row, (row,)) for row in range(len(table.layers)))
    return tuple(rows for row, rows in enumerate(firsts) if rows[0] == row)


def pins(table: SensitivityTable, groups: Groups, pinned: Mapping[str, str | Format]) -> dict[int, int]:
    """The one column of each group that is pinned.

    Parameters
    ----------
    table
        The table, with the losses of forbidden formats nan.
    groups
        The groups.
    pinned
        From layers to formats.

    Returns
    -------
    pins
        From groups to columns.

    Raises
    ------
    InvalidInput
        When a layer or format is unknown, pins of one group disagree, or the format is not allowed there.
    """
    group_of = {row: group for group, rows in enumerate(groups) for row in rows}
    found: dict[int, int] = {}
    said: dict[int, str] = {}
    for name, entry in pinned.items():
        row, column = find_layer(table, name), table.column(entry.name if isinstance(entry, Format) else entry)
        at = group_of[row]
        if found.setdefault(at, column) != column:
            raise InvalidInput(
                f"layer {name!r} is pinned to {table.formats[column].name!r} but {said[at]!r}, which must have the "
                f"same format, is pinned to {table.formats[found[at]].name!r}: pin both to one format"
            )
        said.setdefault(at, name)
        for member in groups[at]:
            if np.isnan(table.loss[member, column]):
                raise InvalidInput(
                    f"layer {name!r} is pinned to {table.formats[column].name!r}, which the table does not allow for "
                    f"{table.layers[member].name!r} (its loss is nan, or target or choices leave it out): pin it "
                    "to another format"
                )
    return found


def values(table: SensitivityTable, groups: Groups, pinned: Mapping[int, int]) -> NDArray[np.float64]:
    """The loss of every group in every format.

    Parameters
    ----------
    table
        The table.
    groups
        The groups.
    pinned
        From groups to their one column.

    Returns
    -------
    value
        ``(n_groups, n_formats)`` float64, the sums over the layers of a group; nan where a format is not allowed for
        all of them.

    Raises
    ------
    InvalidInput
        When a group has no format at all.
    """
    columns = range(len(table.formats))
    alone = {row: table.loss[row] for rows in groups if len(rows) == 1 for row in rows}
    value = np.array(
        [
            alone[rows[0]] if len(rows) == 1 else [_sum(table.loss[list(rows), column]) for column in columns]
            for rows in groups
        ]
    )
    for at, column in pinned.items():
        value[at, np.arange(len(table.formats)) != column] = np.nan
    empty = np.flatnonzero(np.isnan(value).all(axis=1))
    for rows in (groups[at] for at in empty.tolist()):
        for row in rows:
            if np.isnan(table.loss[row]).all():
                raise InvalidInput(
                    f"layer {table.layers[row].name!r} has no format that is allowed (every loss is nan): "
                    "measure it in at least one format, or leave it out of the table"
                )
        names = ", ".join(repr(table.layers[row].name) for row in rows)
        raise InvalidInput(f"the tied layers {names} have no format that is allowed for all of them: untie them")
    return value


def merge(cost: NDArray[np.int64], groups: Groups) -> NDArray[Any]:
    """Sums over the layers of each group, in Python's integers where they may leave 64 bits: Problem refuses those.

    Parameters
    ----------
    cost
        ``(n_layers, n_formats)`` int64.
    groups
        The groups.

    Returns
    -------
    merged
        ``(n_groups, n_formats)`` int64 or object.
    """
    order = np.array([row for rows in groups for row in rows])
    first = np.cumsum([0, *(len(rows) for rows in groups)])[:-1]
    if cost.sum(axis=0, dtype=np.float64).max() < _SAFE:
        return np.asarray(np.add.reduceat(cost[order], first, axis=0))
    return np.array([[sum(cost[list(rows), at].tolist()) for at in range(cost.shape[1])] for rows in groups], object)


def _sum(losses: NDArray[np.float64]) -> float:
    return math.nan if np.isnan(losses).any() else math.fsum(losses.tolist())
