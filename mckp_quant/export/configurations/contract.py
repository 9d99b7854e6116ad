"""What every configuration of another tool is, and what they share: names that are checked, formats by name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...errors import InvalidInput, unknown
from ...formats.format import FLOAT, Format
from ...formats.schemes import is_built_in

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ...formats.schemes import WeightScheme
    from ...layers import Layer

_LITERAL = re.compile(r"\^((?:[^\\.^$*+?{}\[\]()|]|\\[^a-zA-Z0-9])*)\$")
_ESCAPED = re.compile(r"\\(.)")
_NAMED = 4  # names that an error lists


@dataclass(frozen=True)
class Row:
    """A layer of a network, its format, and how its scales are found where the tool wants them written down.

    Attributes
    ----------
    layer
        The layer.
    format
        Its format; ``float`` for layers that the policy leaves alone.
    scales
        Gives the scales and the zero points, ``(channels, groups)`` each, as lists of a row a channel; None where
        there are no weights to take them from.
    """

    layer: Layer
    format: Format
    scales: Callable[[], tuple[list[list[float]], list[list[int]]]] | None = None

    @property
    def scheme(self) -> WeightScheme | None:
        """How the weights are stored; None where they stay float."""
        return self.format.weight_scheme


@dataclass(frozen=True)
class Configuration:
    """How a tool is told which layer gets which format.

    Attributes
    ----------
    name
        The target.
    file
        The name of the file.
    reference
        The version of the tool whose source or parser says what the file holds.
    capability
        The row of `capabilities.TARGETS`; None where nothing is written.
    write
        From every layer of the network to the JSON document; None where there is a writer elsewhere, or none.
    recognises
        Whether a document is of this form.
    read
        From a document and the names of the network's layers (none where they are not known) to formats.
    note
        What whoever gives the file to the tool has to know; empty for nothing.
    """

    name: str
    file: str
    reference: str
    capability: str | None
    write: Callable[[Sequence[Row]], Any] | None
    recognises: Callable[[Any], bool]
    read: Callable[[Any, Sequence[str]], dict[str, Format]]
    note: str = ""


@dataclass(frozen=True)
class BitsAs:
    """Stored bits of a tool's own format: those of the built-in one whose weights are stored alike."""

    name: str

    def __call__(self, layer: Layer) -> int:
        """Bits that the layer's weight takes."""
        return Format.named(self.name).storage_bits(layer)


def weights(row: Row, tool: str, *, symmetric: bool | None = None) -> WeightScheme:
    """How the weights of a row are stored.

    Parameters
    ----------
    row
        A row that is not float.
    tool
        The tool, for the error.
    symmetric
        Whether the tool has symmetric formats only (True), those with zero points only (False), or both (None).

    Returns
    -------
    scheme
        The scheme of a built-in format.

    Raises
    ------
    InvalidInput
        When the format is a user's own, or has zero points where the tool has none, or the other way round.
    """
    scheme = row.scheme
    if scheme is None:
        raise InvalidInput(
            f"{tool} cannot say the format {row.format.name!r} of layer {row.layer.name!r}: it has no bits of weights "
            "that are known here"
        )
    if symmetric is not None and scheme.family == "integer" and scheme.symmetric != symmetric:
        has = "no zero points" if symmetric else "zero points always"
        raise InvalidInput(
            f"{tool} cannot say the format {row.format.name!r} of layer {row.layer.name!r}: its integers have {has}"
        )
    return scheme


def on_network(found: Mapping[str, Format], names: Sequence[str], tool: str) -> dict[str, Format]:
    """The formats of all layers of a network.

    Parameters
    ----------
    found
        What a file says, by names of layers.
    names
        The network's layers; none where they are not known.
    tool
        The tool, for the error.

    Returns
    -------
    formats
        What the file does not name is float; without `names`, what the file names.

    Raises
    ------
    InvalidInput
        When the file names a layer that the network does not have.
    """
    if not names:
        return dict(found)
    known = set(names)
    absent = [name for name in found if name not in known]
    if absent:
        more = f" and {len(absent) - _NAMED} more" if len(absent) > _NAMED else ""
        error = unknown(f"layer in the configuration for {tool}", absent[0], names)
        raise InvalidInput(f"{error} ({', '.join(absent[:_NAMED])}{more} of the file)")
    return {name: found.get(name, FLOAT) for name in names}


def need_names(names: Sequence[str], tool: str, why: str) -> None:
    """Raise InvalidInput where a file has rules that only a network's names can be held against."""
    if not names:
        raise InvalidInput(f"{tool}: {why}: give the names of the network's layers (layers, or --shapes FILE)")


def literal_of(pattern: str) -> str | None:
    """The only text that an anchored pattern matches; None for a pattern that matches several, or that may."""
    match = _LITERAL.fullmatch(pattern)
    return None if match is None else _ESCAPED.sub(r"\1", match[1])


def as_built_in(entry: Format) -> Format:
    """The built-in format of the same name, for one whose table counted its scales in another way."""
    return Format.named(entry.name) if not entry.built_in and is_built_in(entry.name) else entry
