"""Layers and formats from what a file says of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ..errors import InvalidInput
from ..formats.format import BUILT_IN, FLOAT, Format, RecordedBits
from ..formats.schemes import is_built_in
from ..layers import Layer
from . import cells
from .findings import Place

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .raw import Cell, FormatFacts, LayerFacts, RawTable


def layer_of(facts: LayerFacts, name: str, bits: Mapping[str, Any], formats: Mapping[str, FormatFacts]) -> Layer:
    """The layer that the facts describe.

    Parameters
    ----------
    facts
        What the source says, and where.
    name
        The layer's name.
    bits
        Stored bits by format, where the source gives them: then scales need not be counted.
    formats
        The formats of the table.

    Returns
    -------
    layer
        The layer.

    Raises
    ------
    InvalidInput
        When a fact cannot be read or one that is needed is missing.
    """

    def read(column: str) -> object:
        entry = facts.facts.get(column)
        return None if cells.is_unsaid(column, entry) else entry

    raw_shape, elements, channels, macs = (read(each) for each in ("shape", "elements", "channels", "macs"))
    if raw_shape is None and elements is None:
        raise InvalidInput(
            f"{facts.place('shape')}: nothing says how many weights layer {name!r} has: give a column 'shape' or "
            "'elements', or the layers themselves"
        )
    shape = (
        (cells.whole(elements, facts.place("elements"), least=1),)
        if raw_shape is None
        else cells.shape(raw_shape, facts.place("shape"))
    )
    if raw_shape is not None and elements is not None:
        count = cells.whole(elements, facts.place("elements"), least=1)
        if count != math.prod(shape):
            raise InvalidInput(f"{facts.place('elements')}: {count} is not what the shape {raw_shape!r} holds")
    if channels is None and raw_shape is None and not all(entry in bits for entry in formats):
        raise InvalidInput(
            f"{facts.place('channels')}: nothing says how many scales layer {name!r} stores: give a column 'shape' or "
            "'channels', or the exact bytes of every format"
        )
    ties = read("ties")
    return Layer(
        name=name,
        kind=str(read("kind") or ""),
        shape=shape,
        channels=(shape[0] if raw_shape is not None else None)
        if channels is None
        else cells.whole(channels, facts.place("channels"), least=1),
        macs=None if macs is None else cells.whole(macs, facts.place("macs")),
        ties=() if ties is None else cells.names(ties, facts.place("ties")),
    )


def format_of(
    name: str, rows: tuple[Layer, ...], bits: Mapping[str, Mapping[str, int]], chosen: Mapping[Any, Cell], raw: RawTable
) -> Format:
    """The format of this name, as the source describes it.

    Parameters
    ----------
    name
        The format's name.
    rows
        The layers.
    bits
        Stored bits by format and layer, where the source gives them.
    chosen
        The cells by layer and format.
    raw
        The table as it was found.

    Returns
    -------
    entry
        A built-in format, or one with recorded bits. Its weight bits are those that the source gives or a known name
        says, else the whole part of the least stored bits per weight over the layers.

    Raises
    ------
    InvalidInput
        When nothing says what the format takes, or w1 to w8 or float are said to take something else.
    """
    facts, own = raw.formats[name], bits.get(name)
    known = Format.named(name) if is_built_in(name) else None
    if known is not None:
        other = next((layer for layer in rows if own and not _agrees(own.get(layer.name), known, layer)), None)
        if own is None or other is None:
            return known
        if name in (*BUILT_IN, FLOAT.name):
            raise InvalidInput(
                f"{raw.source}: {own[other.name]} stored bits of layer {other.name!r} in column {name!r} are not the "
                f"{known.storage_bits(other)} of the built-in format {name!r}: give the format another name"
            )
    if own is None:
        Format.named(name)  # raises, with the names that there are
        raise InvalidInput(f"{raw.source}, column {name!r}: nothing says how many bytes format {name!r} takes")
    for layer in rows:
        cell = chosen.get((layer.name, name))
        counted = cell is not None and not (cells.is_missing(cell.loss, ()) or cells.is_not_allowed(cell.loss))
        if layer.name not in own and counted:
            place = Place(raw.source, raw.layers[layer.name].row, name)
            raise InvalidInput(f"{place}: nothing says how many bytes format {name!r} takes for layer {layer.name!r}")
    least = min(own[layer.name] // layer.elements for layer in rows if layer.name in own)
    weight_bits = facts.weight_bits if facts.weight_bits is not None else min(max(least, 1), 32)
    activation_bits = facts.activation_bits
    if known is not None:  # the name says the bits of one number, only the scales are stored in another way
        weight_bits = known.weight_bits if facts.weight_bits is None else weight_bits
        activation_bits = known.activation_bits if activation_bits is None else activation_bits
    # A cell without a loss is not allowed, so its bits are never counted.
    recorded = RecordedBits(tuple((layer.name, own.get(layer.name, 0)) for layer in rows))
    return Format(name, weight_bits, activation_bits, stored_bits=recorded)


def _agrees(count: int | None, entry: Format, layer: Layer) -> bool:
    """Whether bits that were given, perhaps as bytes rounded up, are those of a built-in format; None says nothing."""
    if count is None:
        return True
    return layer.channels is not None and 0 <= count - entry.storage_bits(layer) < 8
