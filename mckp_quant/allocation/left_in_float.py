"""Layers that a request leaves in floating point although their table was measured without the format ``"float"``."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from ..formats.capabilities import capability
from ..formats.format import Format
from ..formats.schemes import FLOAT
from ..layers import matching
from .grouping import find_layer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..tables.table import SensitivityTable
    from .index import Index
    from .request import Request


def for_request(table: SensitivityTable, request: Request) -> SensitivityTable:
    """Give a table the format ``"float"`` for the layers that a request leaves in floating point.

    These are the layers that the target never quantises (an embedding for a target that quantises linear layers only),
    and those that the request pins to ``"float"`` or allows it. Left as they are, they lose nothing; every other layer
    gets no new choice.

    Parameters
    ----------
    table
        The table.
    request
        What is asked.

    Returns
    -------
    table
        The table itself where it has the format already, or no layer needs it. The digest stays the same.
    """
    if FLOAT in table.format_names:
        return table
    rows = _pinned(table, request) | _allowed(table, request)
    if request.target is not None:
        taken = capability(request.target)
        rows |= np.array([taken.leaves_in_float(layer) for layer in table.layers]) & ~np.isnan(table.loss).all(axis=1)
    return _with_float(table, rows) if rows.any() else table


def as_indexed(table: SensitivityTable, index: Index) -> SensitivityTable:
    """Give a table the column ``"float"`` where a problem that was built from it has one."""
    has = any(entry.name == FLOAT for entry in index.formats)
    return table.with_float() if has else table


def _with_float(table: SensitivityTable, rows: NDArray[np.bool_]) -> SensitivityTable:
    made = table.with_float()
    loss, stderr = made.loss.copy(), made.stderr.copy()
    loss[~rows, -1] = stderr[~rows, -1] = np.nan
    return dataclasses.replace(made, loss=loss, stderr=stderr)


def _pinned(table: SensitivityTable, request: Request) -> NDArray[np.bool_]:
    rows = np.zeros(len(table.layers), dtype=bool)
    for name, entry in (request.pinned or {}).items():
        if (entry.name if isinstance(entry, Format) else entry) == FLOAT:
            rows[find_layer(table, name)] = True
    return rows


def _allowed(table: SensitivityTable, request: Request) -> NDArray[np.bool_]:
    rows = np.zeros(len(table.layers), dtype=bool)
    for rule, names in (request.choices or {}).items():
        if not isinstance(names, str):
            rows[matching(table.layers, rule)] = FLOAT in names
    return rows
