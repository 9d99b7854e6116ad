"""The picture of a validation: predicted against measured loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...errors import InvalidInput
from .canvas import figure, label_marks

if TYPE_CHECKING:
    from ...evaluation.validation import Validation

_FACTOR = 2.0  # either way: how far a prediction of single layers may be off and still help to choose
_LAYERS, _NETWORKS = "#2563a8", "#c2410c"


def draw_agreement(validation: Validation, *, ax: Any = None) -> Any:
    """Draw predicted against measured loss, both logarithmic: the networks, and the layers where they were run alone.

    Parameters
    ----------
    validation
        What `validate` gave.
    ax
        Axes of matplotlib to draw on; by default a new figure.

    Returns
    -------
    figure
        The figure of matplotlib.

    Raises
    ------
    InvalidInput
        When no network has a prediction and a measurement above 0.
    PackageMissing
        When matplotlib is not installed.
    """
    networks = [
        (row.predicted, row.measured.kl, row.measured.kl_stderr, row.name)
        for row in validation.rows
        if row.predicted > 0 and row.measured.kl > 0
    ]
    carriers = () if validation.carriers is None else validation.carriers.layers
    layers = [(each.predicted, each.measured) for each in carriers if each.predicted > 0 and each.measured > 0]
    if not networks:
        raise InvalidInput("no network has a predicted and a measured loss above 0: there is nothing to draw")
    made, axes = figure(ax)
    axes.set_xscale("log")
    axes.set_yscale("log")
    both = [amount for pair in (*(each[:2] for each in networks), *layers) for amount in pair]
    ends = (min(both) / 2, max(both) * 2)
    axes.fill_between(
        ends,
        [each / _FACTOR for each in ends],
        [each * _FACTOR for each in ends],
        color=_LAYERS,
        alpha=0.12,
        linewidth=0,
        label=f"within a factor of {_FACTOR:g}",
    )
    axes.plot(ends, ends, color="0.5", linewidth=1, linestyle=(0, (5, 4)), label="equal")
    if layers:
        predicted, measured = zip(*layers, strict=True)
        axes.plot(predicted, measured, linestyle="", marker=".", color=_LAYERS, label="single layers")
    axes.errorbar(
        [each[0] for each in networks],
        [each[1] for each in networks],
        yerr=[[min(2 * each[2], 0.9 * each[1]) for each in networks], [2 * each[2] for each in networks]],
        linestyle="",
        marker="D",
        markersize=5,
        color=_NETWORKS,
        elinewidth=1,
        label="networks",
    )
    axes.set_xlabel(f"predicted ({validation.unit})")
    axes.set_ylabel(f"measured ({validation.unit})")
    axes.legend(edgecolor="none", framealpha=1, fontsize=8, loc="upper left")
    label_marks(axes, [(each[0], each[1], each[3]) for each in networks], avoid=layers)
    return made
