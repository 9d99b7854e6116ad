"""The face of a table of sensitivities: what it is about, and its losses, darker where they are larger."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ..common.display import Face, counted, grid, heat, log_share, number, with_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ..common.display import Markup

_DECADES = 4.0  # below the largest loss that backgrounds tell apart
_NAMED = 8  # formats


def table_face(formats: Sequence[str], loss: NDArray[np.float64], unit: str, more: tuple[tuple[str, str], ...]) -> Face:
    """A table in a few lines, from its formats, its losses and further facts."""
    named = ", ".join(formats[:_NAMED]) + (", ..." if len(formats) > _NAMED else "")
    known = loss[~np.isnan(loss)]
    facts = [("formats", named)]
    if len(known):
        facts.append(("losses", f"{number(known.min(), 3)} to {number(known.max(), 3)} {unit}"))
    if len(known) < loss.size:
        facts.append(("not allowed", f"{loss.size - len(known):,} of {counted(loss.size, 'entry', 'entries')}"))
    layers, columns = loss.shape
    return Face(f"SensitivityTable: {counted(layers, 'layer')} x {counted(columns, 'format')}", (*facts, *more))


def losses_grid(
    layers: Sequence[str], formats: Sequence[str], loss: NDArray[np.float64], stderr: NDArray[np.float64]
) -> Markup:
    """A line for each layer, with the loss and its standard error in every format."""
    largest = float(np.nanmax(loss, initial=0.0))
    rows = []
    for layer, losses, errors in zip(layers, loss.tolist(), stderr.tolist(), strict=True):
        cells = [
            "" if math.isnan(each) else heat(log_share(each, largest, _DECADES), with_error(each, error))
            for each, error in zip(losses, errors, strict=True)
        ]
        rows.append((layer, *cells))
    return grid(("layer", *formats), rows)
