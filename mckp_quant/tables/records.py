"""Tables whose rows are records: one per layer (wide), or one per layer and format (long)."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

from ..errors import InvalidInput
from . import cells
from .findings import Place
from .headings import ALIASES, Record, is_transposed, meanings, rows_by_name
from .raw import FACTS, Cell, FormatFacts, LayerFacts, RawTable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_BITS, _STORED = {"weight_bits", "activation_bits"}, {"stored_bits": 1, "bytes": 8}
_LOSSES = ", ".join(ALIASES["loss"])
_GROUP = re.compile(r"group\d+", re.IGNORECASE)
_SUFFIXED = re.compile(r"(?P<format>.+?)[ _](?P<what>stderr|bytes|bits)", re.DOTALL)


def from_records(
    source: str,
    headings: Sequence[str],
    records: Iterable[Record],
    *,
    about: Mapping[str, str] | None = None,
    formats: Mapping[str, FormatFacts] | None = None,
    value: str = "",
) -> RawTable:
    """Read records, whichever of the two shapes they have.

    A heading for the format and one for the loss make a long table; otherwise every heading that is no fact of a layer
    is a format, and ``<format> stderr``, ``<format> bytes`` and ``<format> bits`` stand beside it. A heading for the
    format and none for layer and loss make a transposed wide table: headings are layers, and each row is a format, a
    fact of the layers, or what stands beside a format; a heading ``bpw`` is left out there.

    Parameters
    ----------
    source
        The file, or what the records came in.
    headings
        The headings, in order.
    records
        The rows.
    about
        Unit, method, samples and seed, where they are known.
    formats
        What is known of formats already.
    value
        What the numbers are called where they are no losses, such as ``"latency"``: a heading for them too.

    Returns
    -------
    raw
        What was found.

    Raises
    ------
    InvalidInput
        When headings are missing or stand twice, a row has no name, or facts of one layer disagree; when a transposed
        table has the whole network as its one layer, ``group0``, as files of GGUF-Tool-Suite do.
    """
    if is_transposed(headings):
        rows = rows_by_name(source, headings, records)
        lines = {name: line for name, (line, _) in rows.items()}
        meaning = meanings(source, ["layer", *rows], lines)
        # Bits per weight, which GGUF-Tool-Suite puts behind a type, are those of the whole network and rounded.
        facts = (*ALIASES["format"], "bpw")
        layers = [heading for heading in headings if heading.casefold() not in facts]
        if len(layers) == 1 and _GROUP.fullmatch(layers[0]) and not value:
            raise InvalidInput(
                f"{source}, row 1, column {layers[0]!r}: all tensors of the network were in one type at a time, so the "
                "file holds what whole networks lose and nothing of single layers, between which there is a choice: "
                "give the file with a column for each tensor"
            )
        transposed = [
            Record(layer, {"layer": layer, **{name: entries[layer] for name, (_, entries) in rows.items()}})
            for layer in layers
        ]
        return _read(_Transposed(source, meaning, lines), transposed, about, formats)
    meaning = meanings(source, headings, value=value)
    long = "format" in meaning.values() and "loss" in meaning.values()
    if not long and "format" in meaning.values():
        wanted = f"the numbers; name it {value}, cost or value" if value else f"the loss; name it one of {_LOSSES}"
        raise InvalidInput(f"{source}, row 1: there is a column for the format but none for {wanted}")
    return _read(_Long(source, meaning) if long else _Wide(source, meaning), records, about, formats)


def _read(
    reader: _Reader,
    records: Iterable[Record],
    about: Mapping[str, str] | None,
    formats: Mapping[str, FormatFacts] | None,
) -> RawTable:
    for name, facts in (formats or {}).items():
        reader.formats[name] = facts
    for record in records:
        reader.read(record)
    order = [name for name in reader.found if name in reader.formats]
    order += [name for name in reader.formats if name not in reader.found and name in {c.format for c in reader.cells}]
    return RawTable(
        source=reader.source,
        layers=reader.layers,
        formats={name: reader.formats[name] for name in order},
        cells=tuple(reader.cells),
        about=about or {},
    )


class _Reader:
    """Collects what the rows say."""

    transposed = False

    def __init__(self, source: str, meaning: Mapping[str, str]) -> None:
        self.source = source
        self.meaning = meaning
        self.column = {known: heading for heading, known in meaning.items() if known}
        self.told = [self.column[known] for known in FACTS if known in self.column]
        self.said: dict[str, tuple[object, ...]] = {}  # of a layer in its last row: most rows say the same again
        self.layers: dict[str, LayerFacts] = {}
        self.formats: dict[str, FormatFacts] = {}
        self.found: list[str] = []
        self.cells: list[Cell] = []

    def read(self, record: Record) -> None:
        raise NotImplementedError

    def place(self, record: Record, heading: str) -> Place:
        return Place(self.source, record.line, heading)

    def text(self, record: Record, known: str) -> str:
        """A name that must be there."""
        heading = self.column[known]
        raw = record.entries.get(heading)
        if not isinstance(raw, str) or not raw:
            raise InvalidInput(f"{self.place(record, heading)}: {raw!r} is no name of a {known}")
        return raw

    def layer(self, record: Record) -> str:
        """The layer's name; its facts are kept, and must not differ from row to row."""
        name = self.text(record, "layer")
        said = tuple([record.entries.get(heading) for heading in self.told])
        if self.said.get(name) == said:
            return name
        self.said[name] = said
        facts = {known: record.entries.get(self.column[known]) for known in FACTS if known in self.column}
        facts = {known: entry for known, entry in facts.items() if not cells.is_unsaid(known, entry)}
        if name not in self.layers:
            self.layers[name] = LayerFacts(name, facts, self.source, record.line, transposed=self.transposed)
            return name
        first = self.layers[name]
        for known, entry in facts.items():
            if first.facts.get(known, entry) != entry:
                raise InvalidInput(
                    f"{self.place(record, self.column[known])}: {entry!r} is not what row {first.row} says of layer "
                    f"{name!r}, {first.facts[known]!r}"
                )
        self.layers[name] = dataclasses.replace(first, facts={**facts, **first.facts})
        return name


class _Long(_Reader):
    """One row per layer and format."""

    def read(self, record: Record) -> None:
        layer, name = self.layer(record), self.text(record, "format")
        if name not in self.found or not self.column.keys().isdisjoint(_BITS):
            self._format(record, name)
        bits, where = (None, None) if self.column.keys().isdisjoint(_STORED) else self._stored(record)
        self.cells.append(
            Cell(
                layer,
                name,
                record.entries.get(self.column["loss"]),
                self.place(record, self.column["loss"]),
                record.entries.get(self.column["stderr"]) if "stderr" in self.column else None,
                bits,
                where,
            )
        )

    def _format(self, record: Record, name: str) -> None:
        """What the row says of the format, which must not differ from row to row."""
        facts = FormatFacts(self._bits(record, "weight_bits"), self._bits(record, "activation_bits"))
        known = self.formats.setdefault(name, facts)
        for what in ("weight_bits", "activation_bits"):
            said, before = getattr(facts, what), getattr(known, what)
            if said is not None and before is not None and said != before:
                raise InvalidInput(
                    f"{self.place(record, self.column[what])}: {said} is not what an earlier row says of format "
                    f"{name!r}, {before}"
                )
        if name not in self.found:
            self.found.append(name)

    def _bits(self, record: Record, known: str) -> int | None:
        raw = record.entries.get(self.column[known]) if known in self.column else None
        return None if cells.is_blank(raw) else cells.whole(raw, self.place(record, self.column[known]), least=1)

    def _stored(self, record: Record) -> tuple[object, Place | None]:
        for known, size in _STORED.items():
            raw = record.entries.get(self.column[known]) if known in self.column else None
            if not cells.is_blank(raw) and not cells.is_missing(raw, ()):
                where = self.place(record, self.column[known])
                return size * cells.whole(raw, where), where
        return None, None


class _Wide(_Reader):
    """One row per layer, one column per format."""

    def __init__(self, source: str, meaning: Mapping[str, str]) -> None:
        super().__init__(source, meaning)
        free = [heading for heading, known in meaning.items() if not known]
        beside: dict[str, dict[str, str]] = {}
        for heading in free:
            match = _SUFFIXED.fullmatch(heading)
            if match is not None and match["format"] in free:
                beside.setdefault(match["format"], {})[match["what"]] = heading
        taken = {heading for columns in beside.values() for heading in columns.values()}
        self.found = [heading for heading in free if heading not in taken]
        self.beside = beside
        self.formats = {name: FormatFacts() for name in self.found}

    def read(self, record: Record) -> None:
        layer = self.layer(record)
        for name in self.found:
            beside = self.beside.get(name, {})
            bits, where = self._stored(record, beside) if beside else (None, None)
            stderr = record.entries.get(beside["stderr"]) if "stderr" in beside else None
            self.cells.append(
                Cell(layer, name, record.entries.get(name), self.place(record, name), stderr, bits, where)
            )

    def _stored(self, record: Record, beside: Mapping[str, str]) -> tuple[object, Place | None]:
        for what, size in (("bits", 1), ("bytes", 8)):
            raw = record.entries.get(beside[what]) if what in beside else None
            if not cells.is_blank(raw) and not cells.is_missing(raw, ()):
                where = self.place(record, beside[what])
                return size * cells.whole(raw, where), where
        return None, None


class _Transposed(_Wide):
    """One column per layer, one row per format: a record is a column, and its line the heading of it."""

    transposed = True

    def __init__(self, source: str, meaning: Mapping[str, str], lines: Mapping[str, int | str]) -> None:
        super().__init__(source, meaning)
        self._lines = lines

    def place(self, record: Record, heading: str) -> Place:
        return Place(self.source, self._lines.get(heading, 1), str(record.line))
