"""What pictures with a column or a row for each layer share: the layers' names, and the colours of formats."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..page.colors import format_colors

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ...formats.format import Format

_NAMED = 40  # layers up to which each is named
_FOOT = 0.34  # of the height of a figure, for names that stand upright
_LETTERS = 7.0  # points


def name_layers(made: Any, axes: Any, names: Sequence[str], *, own: bool) -> None:
    """Write the layers' names below their columns, or say that these are numbered where there are many.

    Parameters
    ----------
    made, axes
        The figure and its axes.
    names
        Of the layers, in their order.
    own
        Whether the figure is ours, so that there may be made room in it.
    """
    axes.set_xlim(-0.6, len(names) - 0.4)
    if len(names) > _NAMED:
        axes.set_xlabel("layer, in the order of the network")
        return
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=_LETTERS)
    if own:
        made.subplots_adjust(bottom=_FOOT)


def colors_of(formats: Iterable[Format]) -> dict[str, str]:
    """A colour for each format by its name: red for few bits, over green, to blue for many."""
    order = sorted(dict.fromkeys(formats), key=lambda entry: entry.weight_bits)
    return dict(zip((entry.name for entry in order), format_colors(len(order)), strict=True))
