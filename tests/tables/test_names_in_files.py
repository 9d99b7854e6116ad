"""Names and texts come back from every kind of file as they were, and no spreadsheet computes with them."""

from __future__ import annotations

import csv
import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mckp_quant import Format, InvalidInput, Layer, SensitivityTable
from mckp_quant.tables import cells, read_table, write_table
from mckp_quant.tables.readers.csv_files import as_csv

HARD = [
    "a\n",
    "\r",
    "a\r\nb",
    "\u2028",
    "\x85",
    " a",
    "a ",
    " ",
    "=1+1",
    "+x",
    "-x",
    "@x",
    "\t",
    "'",
    "''",
    "'a'",
    "#",
    '"',
    ";",
]
HARD += [
    "a;b",
    "[a]",
    '["a"]',
    "not allowed",
    "nan",
    "\x1b[31m",
    "\u202e",
    "layer",
    "\ufeff",
    "1e5",
    ",",
    "\x1c",
    "'=1'",
    '"a"',
]
NAMES = st.sampled_from(HARD) | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


@st.composite
def named_tables(draw: st.DrawFn) -> SensitivityTable:
    names = draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
    ties = draw(st.lists(NAMES, max_size=3).map(tuple))
    layers = tuple(Layer(name, draw(NAMES), (2, 2), 2, 1, ties) for name in names)
    formats = (
        Format.named("w4"),
        Format(draw(st.sampled_from(["my own", "a\nb", "=x", " y ", '"z"'])), 3, stored_bits=_bits),
    )
    loss = np.full((len(names), 2), 1.5)
    return SensitivityTable(layers, formats, loss, loss, unit=draw(NAMES), method=draw(NAMES))


def _bits(layer: Layer) -> int:
    return 3 * layer.elements


def said(table: SensitivityTable) -> Any:
    return table.layers, table.format_names, table.loss.tolist(), table.stderr.tolist(), table.unit, table.method


@pytest.mark.parametrize("ending", ["json", "npz", "csv", "long.csv"])
@given(named_tables())
def test_names_survive(tmp_path_factory: Any, ending: str, table: SensitivityTable) -> None:
    path = tmp_path_factory.mktemp("names") / f"t.{ending}"
    write_table(table, path, long=ending.startswith("long"))
    assert said(read_table(path).table) == said(table)


@given(named_tables(), st.booleans())
def test_no_cell_of_text_begins_like_a_formula(table: SensitivityTable, long: bool) -> None:
    lines = [line for line in io.StringIO(as_csv(table, long=long), newline="") if not line.startswith("# ")]
    for row in csv.reader(lines):
        assert not [cell for cell in row if cell[:1] in tuple("=+-@\t\r")]


@given(st.lists(NAMES).map(tuple))
def test_joined_names_are_split_again(names: tuple[str, ...]) -> None:
    assert cells.names(cells.joined(names), None) == names  # type: ignore[arg-type]  # a place is for errors


def test_joined_names_are_plain_where_they_can_be() -> None:
    assert cells.joined(["a", "b.c"]) == "a;b.c"
    assert cells.quoted("conv1.weight") == cells.unquoted(" conv1.weight ") == "conv1.weight"


@pytest.mark.parametrize("name", ["\ud800", "a\0"])
def test_names_that_no_file_can_hold_are_refused_at_once(name: str) -> None:
    with pytest.raises(InvalidInput, match="cannot be written: it holds half a character, or zero"):
        Layer(name, "linear", (2, 2), 2, 1)


@pytest.mark.parametrize(
    "name", ["a\u202eb", "\u2066x\u2069", "\x1b[31m", "a\nb", "\u200b", "b\u2028", "\ufeff", "=\u202e"]
)
def test_what_cannot_be_seen_stands_escaped_in_a_csv(name: str) -> None:
    cell = cells.quoted(name)
    assert cell.isprintable()
    assert cells.unquoted(cell) == name
    assert cells.unquoted("'\"a\\q\"'") == '"a\\q"'  # no JSON: as it stands between the quotes
