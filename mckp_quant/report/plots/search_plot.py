"""The picture of a search: the best that it had found after so many evaluations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .canvas import figure

if TYPE_CHECKING:
    from ...search.task import Found


def draw_search(found: Found | Mapping[str, Found], *, ax: Any = None) -> Any:
    """Draw the progress of one search, or of several by their names.

    Parameters
    ----------
    found
        What `search` gave.
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
    named = dict(found) if isinstance(found, Mapping) else {"": found}
    for name, each in named.items():
        history = [*each.history, (each.evaluations, each.fitness)]
        axes.plot(
            [evaluations for evaluations, _ in history],
            [fitness for _, fitness in history],
            drawstyle="steps-post",
            label=name or None,
        )
    if all(fitness > 0 for each in named.values() for _, fitness in each.history):
        axes.set_yscale("log")
    axes.set_xlabel("evaluations of a quantised network on the calibration data")
    axes.set_ylabel("best fitness so far, lower is better")
    if "" not in named:
        axes.legend(edgecolor="none", framealpha=1, fontsize=8)
    return made
