"""The face of interactions: of what they are, and the largest terms between two layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..common.display import Face, counted, grid, number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ..common.display import Markup

_SHOWN = 20  # terms


def interactions_face(
    layers: int, formats: Sequence[str], samples: int, parts: int, unit: str, seed: int, rounder: str
) -> Face:
    """Counts and origin in a few lines."""
    facts = [
        ("formats", ", ".join(formats)),
        ("measured on", f"{counted(samples, 'sample')} in {counted(parts, 'part')}"),
        ("unit", unit),
    ]
    facts += [("rounder", rounder)] if rounder else []
    return Face(f"Interactions: {counted(layers, 'layer')}, seed {seed}", tuple(facts))


def terms_grid(layers: Sequence[str], formats: Sequence[str], matrix: NDArray[np.float64], unit: str) -> Markup:
    """The terms between two layers that are largest in size; ``matrix`` is that of all entries, layer by layer."""
    entries = [(layer, name) for layer in layers for name in formats]
    first, second = np.triu_indices(len(entries), 1)
    between = first // len(formats) != second // len(formats)
    first, second = first[between], second[between]
    order = np.argsort(-np.abs(matrix[first, second]), kind="stable")[:_SHOWN]
    rows = [
        (*entries[i], *entries[j], number(2 * float(matrix[i, j]), 3))  # a form sums over both orders of a pair
        for i, j in zip(first[order].tolist(), second[order].tolist(), strict=True)
    ]
    return grid(("layer", "format", "layer", "format", f"adds, {unit}"), rows, left=4)
