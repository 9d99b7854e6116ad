"""Tables as CSV: wide, one row per layer, or long, one row per layer and format."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
from typing import TYPE_CHECKING

from ...common.files import parse_json, read_text, readable, write_text
from ...errors import InvalidInput
from .. import cells
from ..findings import Place
from ..headings import Record
from ..raw import FormatFacts
from ..records import from_records

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..raw import RawTable
    from ..table import SensitivityTable

_ABOUT = re.compile(r"#\s*(unit|method|samples|seed|likelihood|classes|rounder)\s*:\s*(.*)")
_FORMAT = re.compile(
    r"#\s*format\s*:\s*(\"(?:[^\"\\]|\\.)*\"|\S+)\s+weight_bits\s*=\s*(\S+)(?:\s+activation_bits\s*=\s*(\S+))?\s*"
)


def read_csv(path: str | os.PathLike[str], *, value: str = "") -> RawTable:
    """Read a CSV file, wide or long.

    A cell between single quotes is taken as it stands, without them; others lose blanks at their ends. Lines that
    start with ``#`` before the heading say more: ``# unit: nats per token``,
    ``# format: own weight_bits=3 activation_bits=8``. The separator is a comma, a semicolon or a tab.

    Parameters
    ----------
    path
        The file, in UTF-8.
    value
        What the numbers are called where they are no losses, see `from_records`.

    Returns
    -------
    raw
        What was found.

    Raises
    ------
    InvalidInput
        When the file cannot be read, or a row has more or fewer cells than the heading.
    """
    source = os.fspath(path)
    text = read_text(path, "table")
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise InvalidInput(f"{source}, row {line}, column 1: there is a zero byte, so this is no text")
    lines = list(io.StringIO(text, newline=""))  # other separators of lines may stand in names
    about, formats, first = _comments(source, lines)
    if first == len(lines):
        raise InvalidInput(f"{source}, row {len(lines) + 1}, column 1: the heading is missing, the file has no table")
    separator = max(",;\t", key=lines[first].count)
    rows = _rows(source, lines, first, separator)
    _, headings = next(rows)
    headings = [str(cells.unquoted(heading)) for heading in headings]
    records = (Record(line, _entries(source, line, headings, row)) for line, row in rows)
    with readable(source):
        return from_records(source, headings, records, about=about, formats=formats, value=value)


def _comments(source: str, lines: list[str]) -> tuple[dict[str, str], dict[str, FormatFacts], int]:
    about: dict[str, str] = {}
    formats: dict[str, FormatFacts] = {}
    for at, line in enumerate(lines):
        if line.strip() and not line.startswith("#"):
            return about, formats, at
        if (match := _ABOUT.fullmatch(line.rstrip())) is not None:
            about[match[1]] = _told(match[2], Place(source, at + 1, match[1]))
        elif (match := _FORMAT.fullmatch(line.rstrip())) is not None:
            place = Place(source, at + 1, match[1])
            activation = None if match[3] is None else cells.whole(match[3], place, least=1)
            formats[_told(match[1], place)] = FormatFacts(cells.whole(match[2], place, least=1), activation)
    return about, formats, len(lines)


def _told(text: str, place: Place) -> str:
    """Text of a comment: as it is, or in the quotes of JSON."""
    if not text.startswith('"'):
        return text.strip()
    found = parse_json(text, str(place), "text")
    return str(found)


def _telling(text: str) -> str:
    """Text for a comment, such that `_told` gives it back."""
    plain = text.isprintable() and text == text.strip() and not text.startswith('"')
    return text if plain else json.dumps(text)


def _rows(source: str, lines: list[str], first: int, separator: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(lines[first:], delimiter=separator, strict=True)
    start = 1
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            line = first + max(reader.line_num, start)
            raise InvalidInput(f"{source}, row {line}, column 1: {error}") from error
        if any(cell.strip() for cell in row):
            yield first + start, row
        start = reader.line_num + 1


def _entries(source: str, line: int, headings: list[str], row: list[str]) -> dict[str, object]:
    if len(row) != len(headings):
        at = min(len(row), len(headings))
        column = headings[at] if at < len(headings) else str(at + 1)
        raise InvalidInput(
            f"{source}, row {line}, column {column!r}: the row has {len(row)} cells, the heading has {len(headings)}"
        )
    # Nearly all cells are without quotes: a call for each would take a third of the time of a large file.
    plain = [text if not (text := cell.strip()).startswith("'") else cells.unquoted(cell) for cell in row]
    return dict(zip(headings, plain, strict=True))


def write_csv(table: SensitivityTable, path: str | os.PathLike[str], *, long: bool = False) -> None:
    """Write a table as CSV; contributions of single batches stay out.

    Parameters
    ----------
    table
        The table.
    path
        Where to write.
    long
        One row per layer and format, instead of one per layer.
    """
    write_text(path, as_csv(table, long=long))


def as_csv(table: SensitivityTable, *, long: bool = False) -> str:
    """The text that `write_csv` writes."""
    file = io.StringIO()
    for key in ("unit", "method", "samples", "seed"):
        file.write(f"# {key}: {_telling(str(getattr(table, key)))}\n")
    if table.rounder:
        file.write(f"# rounder: {_telling(table.rounder)}\n")
    if table.likelihood:
        file.write(f"# likelihood: {_telling(table.likelihood)}\n")
    if table.classes:
        file.write(f"# classes: {table.classes}\n")
    for entry in table.formats:
        if not entry.built_in:
            activation = "" if entry.activation_bits is None else f" activation_bits={entry.activation_bits}"
            name = json.dumps(entry.name) if len(entry.name.split()) > 1 else _telling(entry.name)
            file.write(f"# format: {name} weight_bits={entry.weight_bits}{activation}\n")
    records = long_records(table) if long else wide_records(table)
    rows: list[list[object]] = [list(records[0]), *(list(record.values()) for record in records)]
    rows = [[cells.quoted(cell) if isinstance(cell, str) else cell for cell in row] for row in rows]
    # The csv module leaves a carriage return bare unless it ends lines.
    returns = any("\r" in cell for row in rows for cell in row if isinstance(cell, str))
    csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL if returns else csv.QUOTE_MINIMAL).writerows(rows)
    return file.getvalue()


def wide_records(table: SensitivityTable) -> list[dict[str, object]]:
    """One record per layer, with a column per format and one for each of its standard errors and stored bits.

    Parameters
    ----------
    table
        The table.

    Returns
    -------
    records
        Plain values under the headings that `from_records` reads.
    """
    known = [not bool(_all_nan(table.stderr[:, column])) for column in range(len(table.formats))]
    records = []
    for row, layer in enumerate(table.layers):
        record = _facts(table, row)
        for column, entry in enumerate(table.formats):
            record[entry.name] = _cell(table.loss[row, column])
            if known[column]:
                record[f"{entry.name} stderr"] = _cell(table.stderr[row, column], missing="")
            if not entry.built_in:
                record[f"{entry.name} bits"] = entry.storage_bits(layer)
        records.append(record)
    return records


def long_records(table: SensitivityTable) -> list[dict[str, object]]:
    """One record per layer and format.

    Parameters
    ----------
    table
        The table.

    Returns
    -------
    records
        Plain values under the headings that `from_records` reads.
    """
    return [
        {
            **_facts(table, row),
            "format": entry.name,
            "weight_bits": entry.weight_bits,
            "activation_bits": "" if entry.activation_bits is None else entry.activation_bits,
            "loss": _cell(table.loss[row, column]),
            "stderr": _cell(table.stderr[row, column], missing=""),
            "stored_bits": entry.storage_bits(layer),
        }
        for row, layer in enumerate(table.layers)
        for column, entry in enumerate(table.formats)
    ]


def _facts(table: SensitivityTable, row: int) -> dict[str, object]:
    layer = table.layers[row]
    # A shape says how many channels there are; where that is not known, only the number of weights is.
    some_unknown = any(each.channels is None for each in table.layers)
    return {
        "layer": layer.name,
        "kind": layer.kind,
        "shape": "" if layer.channels is None else "x".join(str(size) for size in layer.shape),
        **({"elements": layer.elements} if some_unknown else {}),
        "channels": "" if layer.channels is None else layer.channels,
        "macs": "" if layer.macs is None else layer.macs,
        "ties": cells.joined(layer.ties),
    }


def _cell(number: float, missing: str = cells.NOT_ALLOWED) -> object:
    return missing if math.isnan(number) else float(number)


def _all_nan(numbers: object) -> bool:
    return all(math.isnan(number) for number in numbers)  # type: ignore[attr-defined]
