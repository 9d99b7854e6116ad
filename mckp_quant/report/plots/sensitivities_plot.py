"""The picture of a table: how much each layer suffers from each format."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .canvas import figure
from .layer_axis import name_layers

if TYPE_CHECKING:
    from ...policy.policy import Policy
    from ...tables.table import SensitivityTable

_COLORS = "YlOrBr"


def draw_sensitivities(table: SensitivityTable, *, policy: Policy | None = None, ax: Any = None) -> Any:
    """Draw a table as a map of colours, by the logarithm of the loss; what is not above 0, or not allowed, is grey.

    Parameters
    ----------
    table
        The table.
    policy
        Of which the chosen formats are marked.
    ax
        Axes of matplotlib to draw on; by default a new figure.

    Returns
    -------
    figure
        The figure of matplotlib.

    Raises
    ------
    PackageMissing
        When matplotlib is not installed.
    """
    made, axes = figure(ax)
    positive = np.where(table.loss > 0, table.loss, np.nan)
    with np.errstate(invalid="ignore"):
        shown = np.log10(positive).T
    axes.grid(False)
    axes.set_facecolor("0.85")
    image = axes.imshow(shown, aspect="auto", cmap=_COLORS, interpolation="nearest", origin="lower")
    made.colorbar(image, ax=axes, label=f"logarithm (base 10) of the predicted loss, {table.unit}", pad=0.02)
    axes.set_yticks(range(len(table.formats)), table.format_names)
    if policy is not None:
        rows = [row for row, name in enumerate(table.layer_names) if name in set(policy.layer_names)]
        columns = [table.column(policy[table.layer_names[row]].name) for row in rows]
        axes.plot(
            rows, columns, linestyle="", marker="s", markersize=4, color="black", fillstyle="none", label="chosen"
        )
    name_layers(made, axes, table.layer_names, own=ax is None)
    return made
