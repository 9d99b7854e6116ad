"""The picture of a stability: how often each layer keeps its format when the samples are drawn anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .canvas import figure
from .layer_axis import name_layers

if TYPE_CHECKING:
    from ...stability.result import Stability

_KEPT, _OTHER = "#2563a8", "#d9a066"


def draw_stability(stability: Stability, *, ax: Any = None) -> Any:
    """Draw in what share of the draws each layer has its format of the policy, and the next most frequent one.

    Parameters
    ----------
    stability
        What `check_stability` gave.
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
    policy, names = stability.nominal.policy, stability.layer_names
    own = [stability.formats.index(policy[name].name) for name in names]
    others = stability.shares.copy()
    others[np.arange(len(names)), own] = 0
    at = np.arange(len(names))
    axes.bar(at, stability.kept, 0.82, color=_KEPT, label="the policy's format")
    axes.bar(at, others.max(axis=1), 0.82, bottom=stability.kept, color=_OTHER, label="the next most frequent one")
    axes.set_ylim(0, 1)
    axes.set_ylabel(f"share of {stability.draws} draws")
    axes.legend(edgecolor="none", framealpha=1, fontsize=8, ncols=2, loc="lower left", bbox_to_anchor=(0, 1))
    if ax is None:
        made.subplots_adjust(top=0.9)
    name_layers(made, axes, names, own=ax is None)
    return made
