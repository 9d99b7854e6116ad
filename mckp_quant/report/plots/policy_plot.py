"""The picture of a policy: the bytes of every layer, coloured by its format."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...errors import InvalidInput
from .canvas import figure
from .layer_axis import colors_of, name_layers

if TYPE_CHECKING:
    from ...policy.policy import Policy


def draw_policy(policy: Policy, *, ax: Any = None) -> Any:
    """Draw a policy: a column for each layer, as high as the bytes of its weight.

    Parameters
    ----------
    policy
        The policy.
    ax
        Axes of matplotlib to draw on; by default a new figure.

    Returns
    -------
    figure
        The figure of matplotlib.

    Raises
    ------
    InvalidInput
        When the policy does not know what its layers take.
    PackageMissing
        When matplotlib is not installed.
    """
    if not policy.layer_bits:
        raise InvalidInput(
            "the policy does not know what its layers take: make it with allocate, or with Policy.uniform on a table"
        )
    made, axes = figure(ax)
    colors = colors_of(policy.formats)
    names = [entry.name for entry in policy.formats]
    for name, color in colors.items():
        at = [place for place, own in enumerate(names) if own == name]
        axes.bar(at, [-(-policy.layer_bits[place] // 8) for place in at], 0.82, color=color, label=name)
    axes.set_ylabel("bytes")
    axes.legend(edgecolor="none", framealpha=1, fontsize=8, ncols=len(colors), loc="lower left", bbox_to_anchor=(0, 1))
    if ax is None:
        made.subplots_adjust(top=0.9)
    name_layers(made, axes, policy.layer_names, own=ax is None)
    return made
