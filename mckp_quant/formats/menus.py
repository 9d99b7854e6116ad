"""The formats to choose from where the user names none: bits, groups and zero points, as far as a target takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import InvalidInput
from .blocks import GGML, GGML_FORMATS
from .capabilities import capability
from .format import Format, as_formats

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..layers import Layer

AUTO = "auto"
BITS = (2, 3, 4, 5, 6, 8)
GROUPS = (None, 32, 64)  # weights that share a scale; None for all of an output channel
# The types of ggml, for targets that take them; ``w4g32`` and its like lie in blocks of ``q4_0`` and its like.
BLOCKS = tuple(name for name in GGML_FORMATS if name not in ("q4_0", "q5_0", "q8_0"))


def menu(layers: Sequence[Layer], target: str | None = None) -> tuple[Format, ...]:
    """Formats of weights that are worth measuring.

    Integers of 2, 3, 4, 5, 6 and 8 bits, with a scale for a channel, 32 or 64 weights, with and without zero points. At
    equal bytes more choices are worth as much as more careful ones, and cost a wider table. For ``gguf`` the types of
    llama.cpp too.

    Parameters
    ----------
    layers
        The layers.
    target
        The export target that will store them; None for any.

    Returns
    -------
    formats
        Those that at least one layer can be stored in. Groups have to divide its row of weights, and to be shorter: a
        group as long as the row is a channel.

    Raises
    ------
    InvalidInput
        When there is no such target, or it takes no layer in any of them.
    """
    every = [
        Format.named(f"w{bits}{'' if group is None else f'g{group}'}{zero}")
        for bits in BITS
        for group in GROUPS
        for zero in ("", "z")
    ]
    takes = None if target is None else capability(target)
    every += map(Format.named, BLOCKS if takes is not None and takes.blocks else ())
    found = tuple(
        entry
        for entry in every
        if any(_fits(layer, entry) and (takes is None or takes.takes(layer, entry)) for layer in layers)
    )
    if not found:
        raise InvalidInput(
            f"target {target!r} takes none of the {len(layers)} layers in {every[0].name} to {every[-1].name}: name "
            "the formats yourself, with formats="
        )
    return found


def formats_for(
    formats: str | Iterable[str | Format], layers: Sequence[Layer], target: str | None = None
) -> tuple[Format, ...]:
    """The formats that a caller means: those of `menu` for ``"auto"``, else as `as_formats` reads them."""
    return menu(layers, target) if formats == AUTO else as_formats(formats)


def _fits(layer: Layer, entry: Format) -> bool:
    size = entry.group_size
    if size is None:
        return True
    short = layer.channels is None or layer.row < size or (layer.row == size and entry.family != GGML)
    return not short and layer.row % size == 0
