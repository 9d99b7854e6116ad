"""What every reader of another tool's JSON is, and how it says that a file is damaged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...errors import InvalidInput
from ..raw import Cell, FormatFacts, LayerFacts, RawTable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..findings import Place
    from ..sizes import Sizes


@dataclass(frozen=True)
class ToolReader:
    """How the sensitivities of one tool are found in its JSON.

    Attributes
    ----------
    name
        The tool.
    reference
        The version whose source says what the file holds.
    recognises
        Whether a document is the tool's.
    read
        From the file's name, its document and the sizes that the user gave to the table as it was found.
    """

    name: str
    reference: str
    recognises: Callable[[Any], bool]
    read: Callable[[str, Any, Sizes], RawTable]


def entry_of(holder: object, key: str, place: Place) -> Any:
    """What stands under a key; raises InvalidInput, with the place, where there is no object or no such key."""
    if not isinstance(holder, dict) or key not in holder:
        raise InvalidInput(f"{place}: {key!r} is missing: the file is damaged or of another version")
    return holder[key]


def raw_table(
    source: str,
    elements: Mapping[str, int | None],
    formats: Mapping[str, FormatFacts],
    cells: list[Cell],
    about: Mapping[str, str],
) -> RawTable:
    """A table as it was found.

    Parameters
    ----------
    source
        The file.
    elements
        From each layer to how many weights it has; None where the file does not say.
    formats
        The formats, in order.
    cells
        What stands for each layer and format.
    about
        Unit and method.

    Returns
    -------
    raw
        The table.
    """
    layers = {
        name: LayerFacts(name, {} if count is None else {"elements": count}, source, name)
        for name, count in elements.items()
    }
    return RawTable(source, layers, formats, tuple(cells), about)
