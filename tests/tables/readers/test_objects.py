from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from mckp_quant import InvalidInput, Layer, SensitivityTable
from mckp_quant.tables import table_from_arrays, table_from_records, table_to_frame
from mckp_quant.tables.findings import KEEP
from mckp_quant.tables.readers.csv_files import long_records, wide_records

from ...drawn_tables import make_table, tables


def same(found: SensitivityTable, table: SensitivityTable) -> None:
    """Everything that a solver looks at, to the last bit."""
    assert (found.layers, found.format_names) == (table.layers, table.format_names)
    assert np.array_equal(found.loss, table.loss, equal_nan=True)
    assert found.digest == table.digest
    for own, entry in zip(table.formats, found.formats, strict=True):
        assert (entry.weight_bits, entry.activation_bits) == (own.weight_bits, own.activation_bits)
        assert [entry.storage_bits(layer) for layer in table.layers] == [
            own.storage_bits(layer) for layer in table.layers
        ]


@settings(max_examples=25)
@given(table=tables())
def test_records_and_arrays_mean_the_same_table(table: SensitivityTable) -> None:
    for records in (wide_records(table), long_records(table)):
        same(table_from_records(records, formats=table.formats, unit=table.unit, handling=KEEP).table, table)
    bits = [[8 * entry.storage_bytes(layer) for entry in table.formats] for layer in table.layers]
    loss = [[None if math.isnan(entry) else entry for entry in row] for row in table.loss.tolist()]
    keep = dataclasses.replace(KEEP, missing="drop")
    same(table_from_arrays(loss, table.layers, table.formats, handling=keep).table, table)
    names = [f"as {name}" for name in table.format_names]
    sized = table_from_arrays(loss, table.layers, names, stored_bytes=np.array(bits) // 8, handling=keep).table
    assert np.array_equal(sized.loss, table.loss, equal_nan=True)
    allowed = ~np.isnan(table.loss)
    found = np.array([[entry.storage_bits(layer) for entry in sized.formats] for layer in table.layers])
    assert (found[allowed] == np.array(bits)[allowed]).all()


def test_data_frames_go_in_and_out() -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    table = make_table([[3.0, 2.0, 1.0], [math.nan, -2.0, 1.5]])
    for long in (False, True):
        frame = table_to_frame(table, long=long)
        assert isinstance(frame, pandas.DataFrame)
        same(table_from_records(frame, handling=KEEP).table, table)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([[1, 2]], "ab", ["w2"]), r"loss has the shape \(1, 2\): it must be \(2, 1\), layers by formats"),
        (([[1, 2], [3]], "ab", ["w2", "w4"]), "loss (is not rectangular|has the shape)"),
        (([[1], ["x"]], "ab", ["w2"]), "loss, row 1, column 'w2': 'x' is no number"),
    ],
)
def test_matrices_that_do_not_fit_are_refused(arguments: Any, words: str) -> None:
    loss, names, formats = arguments
    layers = [Layer(name, "linear", (2, 3), 2, 6) for name in names]
    with pytest.raises(InvalidInput, match=words):
        table_from_arrays(loss, layers, formats)


def test_names_for_layers_and_words_for_handling_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"layers\[0\] is 'a': give Layer objects"):
        table_from_arrays([[1, 2]], ["a"], ["w2", "w4"])  # type: ignore[list-item]
    with pytest.raises(InvalidInput, match=r"handling is 'drop': give Handling\(...\), such as"):
        table_from_arrays([[1]], [Layer("a", "linear", (2, 3), 2, 6)], ["w2"], handling="drop")  # type: ignore[arg-type]


def test_records_that_are_none_are_refused() -> None:
    with pytest.raises(InvalidInput, match="the records, row 1, column 0: 3 is no dict"):
        table_from_records([{"layer": "a", "shape": "2x2", "w4": 1}, 3])  # type: ignore[list-item]


def test_stored_bytes_that_are_no_whole_number_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"stored_bytes, row 0, column 'q': 2\.5 is no whole"):
        table_from_arrays([[1.0]], [Layer("a", "linear", (2, 3), 2, 6)], ["q"], stored_bytes=[[2.5]])
