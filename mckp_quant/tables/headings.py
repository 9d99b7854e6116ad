"""What the headings of a table mean, whether its rows are layers or formats."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import InvalidInput
from .findings import Place

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

ALIASES = {
    "layer": ("layer", "tensor", "module", "name", "tensor_name", "layer_name"),
    "format": ("format", "qtype", "type", "quant", "quantization", "scheme"),
    "loss": ("loss", "kld", "kl", "score", "sensitivity", "delta_loss", "value"),
    "stderr": ("stderr", "loss_stderr", "kld_stderr", "std_error"),
    "bytes": ("bytes", "n_bytes", "size_bytes"),
    "stored_bits": ("stored_bits",),
    "elements": ("elements", "weights", "parameters", "n_elements", "numel"),
    "weight_bits": ("weight_bits",),
    "activation_bits": ("activation_bits",),
    "kind": ("kind",),
    "shape": ("shape",),
    "channels": ("channels",),
    "macs": ("macs",),
    "ties": ("ties",),
}
_MEANING = {alias: name for name, known in ALIASES.items() for alias in known}


@dataclass(frozen=True)
class Record:
    """One row: what stands under each heading, and which line it is."""

    line: int | str
    entries: Mapping[str, object]


def _meaning_of(heading: str) -> str:
    return _MEANING.get(str(heading).strip().casefold(), "")


def is_transposed(headings: Sequence[str]) -> bool:
    """Whether the headings are layers: there is one for the format, and none for the layer or the loss."""
    known = {_meaning_of(heading) for heading in headings}
    return "format" in known and len(headings) > 1 and not known & {"layer", "loss"}


def rows_by_name(
    source: str, headings: Sequence[str], records: Iterable[Record]
) -> dict[str, tuple[int | str, Mapping[str, object]]]:
    """From the name of each row of a transposed table to its line and entries.

    Parameters
    ----------
    source
        The file, or what the records came in.
    headings
        The headings: that of the formats, and the layers.
    records
        The rows.

    Returns
    -------
    rows
        By name, in order.

    Raises
    ------
    InvalidInput
        When a row has no name, or the name of another.
    """
    first = next(heading for heading in headings if _meaning_of(heading) == "format")
    found: dict[str, tuple[int | str, Mapping[str, object]]] = {}
    for record in records:
        name = record.entries.get(first)
        if not isinstance(name, str) or not name.strip():
            raise InvalidInput(f"{Place(source, record.line, first)}: {name!r} is no name of a format")
        if name.strip() in found:
            raise InvalidInput(f"{Place(source, record.line, first)}: there is a second row {name.strip()!r}")
        found[name.strip()] = (record.line, record.entries)
    return found


def meanings(
    source: str, headings: Sequence[str], lines: Mapping[str, int | str] | None = None, value: str = ""
) -> dict[str, str]:
    """From each heading to what it means; a heading that means nothing known is a format.

    Parameters
    ----------
    source
        The file, or what the records came in.
    headings
        The headings.
    lines
        Of a transposed table, the line of each heading.
    value
        One more heading for the number of a layer and format, such as the name of the costs that a file holds.

    Returns
    -------
    meanings
        By heading: a key of `ALIASES`, or nothing.

    Raises
    ------
    InvalidInput
        When a heading is empty or stands twice, two mean the same, or none is for the layer.
    """
    meaning: dict[str, str] = {}
    for position, heading in enumerate(headings):
        if not str(heading).strip():
            raise InvalidInput(f"{source}, row 1, column {position + 1}: the heading is empty")
        name = str(heading)
        if name in meaning:
            raise InvalidInput(f"{source}, row 1, column {position + 1}: the heading {name!r} stands twice")
        own = value and name.strip().casefold() in (value.casefold(), "cost")
        known = "loss" if own else _MEANING.get(name.strip().casefold(), "")
        if known and known in meaning.values():
            if lines is not None:
                raise InvalidInput(f"{Place(source, lines[name], '1')}: there are two rows for the {known}")
            raise InvalidInput(f"{source}, row 1, column {name!r}: there are two columns for the {known}")
        meaning[name] = known
    if "layer" not in meaning.values():
        raise InvalidInput(
            f"{source}, row 1, column 1: there is no column for the layer; name it one of {', '.join(ALIASES['layer'])}"
        )
    return meaning
