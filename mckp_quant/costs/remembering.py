"""Costs of layers that are alike, counted once: large networks have few shapes and many layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..formats.format import Format
    from ..layers import Layer


def remembered(cost: Callable[[Layer, Format], int]) -> Callable[[Layer, Format], int]:
    """A built-in cost that is counted once for layers that are alike but for their names.

    Parameters
    ----------
    cost
        One that looks at the kind, shape, channels and multiply-accumulates of a layer alone.

    Returns
    -------
    cost
        The same numbers; formats must outlive it.
    """
    known: dict[tuple[object, ...], int] = {}

    def of(layer: Layer, entry: Format) -> int:
        if entry.stored_bits is not None:  # a user's own may look at the name
            return cost(layer, entry)
        key = (id(entry), layer.shape, layer.channels, layer.macs, layer.kind)
        found = known.get(key)
        if found is None:
            found = known[key] = cost(layer, entry)
        return found

    return of
