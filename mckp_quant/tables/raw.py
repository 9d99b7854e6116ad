"""A table as it was found, before anything is decided about its odd cells."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .findings import Place

if TYPE_CHECKING:
    from collections.abc import Mapping

FACTS = ("kind", "shape", "elements", "channels", "macs", "ties")


@dataclass(frozen=True)
class Cell:
    """What stands for one layer and format, as it was found: text or numbers."""

    layer: str
    format: str
    loss: object
    place: Place
    stderr: object = None
    bits: object = None
    bits_place: Place | None = None


@dataclass(frozen=True)
class LayerFacts:
    """What a file says of a layer, by the names in `FACTS`, and its row; in a transposed table its column."""

    name: str
    facts: Mapping[str, object]
    source: str
    row: int | str
    transposed: bool = False

    def place(self, column: str) -> Place:
        """Where a fact stands."""
        if self.transposed:
            return Place(self.source, repr(column), self.name)
        return Place(self.source, self.row, column)


@dataclass(frozen=True)
class FormatFacts:
    """What a file says of a format; None where it does not."""

    weight_bits: int | None = None
    activation_bits: int | None = None


@dataclass(frozen=True)
class RawTable:
    """A table as it was found.

    Attributes
    ----------
    source
        The file, or what the numbers came in.
    layers
        By name, in the order in which they first stood there.
    formats
        By name, in order.
    cells
        In the order in which they stood there; one layer and format may have several.
    about
        Unit, method, samples and seed, where they are known.
    """

    source: str
    layers: Mapping[str, LayerFacts]
    formats: Mapping[str, FormatFacts]
    cells: tuple[Cell, ...]
    about: Mapping[str, str] = field(default_factory=dict)
