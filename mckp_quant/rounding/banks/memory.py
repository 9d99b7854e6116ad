"""Where the codes of a bank may be, and the place that they have in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...formats.format import Format
    from ...layers import Layer
    from ..encoded import StoredWeight


class Store(Protocol):
    """Where the codes of a bank are: in memory, or in a folder from which they are read when they are needed."""

    def read(self, layer: Layer, entry: Format) -> StoredWeight:
        """The codes of one of the bank's layers in one of its formats."""


@dataclass(eq=False)
class Memory:
    """Codes in memory, by the names of layer and format."""

    codes: dict[tuple[str, str], StoredWeight] = field(default_factory=dict)

    def read(self, layer: Layer, entry: Format) -> StoredWeight:
        """The codes of a layer in a format."""
        return self.codes[layer.name, entry.name]

    def write(self, layer: Layer, codes: Mapping[Format, StoredWeight], *, seen: bool) -> None:
        """Keep the codes of a layer."""
        self.codes.update({(layer.name, entry.name): each for entry, each in codes.items()})

    def seen(self, layer: Layer, formats: tuple[Format, ...]) -> bool | None:
        """What `Folder.seen` says; nothing is kept from an earlier run."""
        return None
