"""What any choice of formats costs, and which loss a table predicts for it: by these numbers policies are compared."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..costs.costs import RESOURCES, resource
from ..costs.remembering import remembered
from ..errors import InvalidInput
from ..formats.schemes import FLOAT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..formats.format import Format
    from ..layers import Layer
    from ..tables.table import SensitivityTable


@dataclass(frozen=True)
class Prediction:
    """A predicted increase of the loss.

    Attributes
    ----------
    loss
        The sum over the layers, in the table's unit.
    stderr
        Its standard error over the batches that the table was measured on, cells of one batch taken together; nan
        where the table holds no contributions of single batches.
    """

    loss: float
    stderr: float


def totals(layers: Sequence[Layer], formats: Sequence[Format], *, target: str | None = None) -> dict[str, int]:
    """Exact totals of every built-in resource that is known of all layers, by what it counts.

    Parameters
    ----------
    layers
        The layers.
    formats
        One format per layer.
    target
        The export target whose storage counts; None for the formats' own.

    Returns
    -------
    totals
        Such as ``{"weight_bytes": ..., "stored_bits": ..., "bops": ...}``; without ``"bops"`` where the
        multiply-accumulates of a layer are not known, or no layer has any.
    """
    pairs = list(zip(layers, formats, strict=True))
    counted = not layers or any(layer.macs for layer in layers)
    counted = counted and all(layer.macs is not None for layer in layers)
    kinds = [kind for kind in (resource(name, target=target) for name in RESOURCES) if counted or not kind.per_mac]
    costs = {kind.counts: remembered(kind.cost) if target is None else kind.cost for kind in kinds}
    return {counts: sum(cost(layer, entry) for layer, entry in pairs) for counts, cost in costs.items()}


def predict(table: SensitivityTable, formats: Sequence[Format], layer_names: Sequence[str] | None = None) -> Prediction:
    """Predict the loss of any choice of formats, whoever made it.

    Parameters
    ----------
    table
        The table.
    formats
        One of the table's formats for each of the layers, found by name; or ``"float"``, which loses nothing.
    layer_names
        The layers, some of the table's; by default all of them.

    Returns
    -------
    prediction
        The predicted loss.

    Raises
    ------
    InvalidInput
        When there is not one format per layer, the table lacks one, or does not allow it for its layer.
    """
    names = table.layer_names if layer_names is None else layer_names
    at = {name: row for row, name in enumerate(table.layer_names)}
    rows = np.array([at[name] if name in at else table.row(name) for name in names])
    if len(formats) != len(rows):
        raise InvalidInput(f"{len(formats)} formats for {len(rows)} layers: give one per layer")
    if any(entry.name == FLOAT for entry in formats):
        table = table.with_float()
    column = {entry.name: at for at, entry in enumerate(table.formats)}
    columns = np.array([column[entry.name] if entry.name in column else table.column(entry.name) for entry in formats])
    losses = table.loss[rows, columns]
    if np.isnan(losses).any():
        row = int(np.argmax(np.isnan(losses)))
        raise InvalidInput(
            f"the table does not allow format {formats[row].name!r} for layer {names[row]!r} "
            "(its loss is nan): choose another format there"
        )
    stderr = math.nan
    if table.contributions is not None and table.batch_sizes is not None and len(table.batch_sizes) > 1:
        share = table.batch_sizes / table.batch_sizes.sum()
        sums = table.contributions[:, rows, columns].sum(axis=1)
        spread = share * (sums - share @ sums)
        stderr = math.sqrt(len(share) / (len(share) - 1) * float(spread @ spread))
    return Prediction(math.fsum(losses.tolist()), stderr)
