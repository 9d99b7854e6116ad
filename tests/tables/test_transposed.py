from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given

from mckp_quant import InvalidInput, Layer, SensitivityTable
from mckp_quant.tables import Handling, read_table
from mckp_quant.tables.findings import KEEP
from mckp_quant.tables.readers.csv_files import as_csv

from ..drawn_tables import tables

if TYPE_CHECKING:
    from pathlib import Path

KLD = """\
QTYPE,blk.0.q,blk.0.k
elements,4096,1024
IQ4,0.3,404
IQ4 bytes,2304,576
Q8,0.1,0.2
Q8 bytes,4352,1088
"""


@given(tables())
def test_a_wide_table_says_the_same_when_it_is_transposed(
    tmp_path_factory: pytest.TempPathFactory, table: SensitivityTable
) -> None:
    upright = as_csv(table).splitlines()
    comments = [line for line in upright if line.startswith("#")]
    rows = list(csv.reader(line for line in upright if not line.startswith("#")))
    rows[0][0] = "format"
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(zip(*rows, strict=True))
    path = tmp_path_factory.mktemp("transposed") / "table.csv"
    path.write_text("\n".join([*comments, text.getvalue()]))
    found = read_table(path, handling=KEEP).table
    assert (found.layers, found.format_names, found.unit) == (table.layers, table.format_names, table.unit)
    assert np.array_equal(found.loss, table.loss, equal_nan=True)
    assert found.digest == table.digest


def test_published_losses_by_type_and_tensor_are_read_with_their_bytes(tmp_path: Path) -> None:
    path = tmp_path / "kld.csv"
    path.write_text(KLD)
    with pytest.raises(InvalidInput, match=r"row 3, column 'blk.0.k' .*'404' is no number - refused"):
        read_table(path)
    table = read_table(path, handling=Handling(missing="drop")).table
    assert table.layer_names == ("blk.0.q", "blk.0.k")
    assert table.loss[0].tolist() == [0.3, 0.1]
    assert [entry.storage_bytes(table.layers[0]) for entry in table.formats] == [2304, 4352]
    path.write_text("format,a,b\nw4,1,2\n")
    layers = [Layer(name, "linear", (2, 8), 2, 16) for name in "ab"]
    assert read_table(path, layers=layers).table.loss.tolist() == [[1.0], [2.0]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("type,a,b\nelements,4,4\nq8,x,1\nq8 bytes,4,4\n", "row 3, column 'a': 'x' is no number"),
        ("type,a,b\nelements,4.5,4\nq8,1,1\nq8 bytes,4,4\n", "row 'elements', column 'a': '4.5' is no whole number"),
        ("type,a,b\nelements,4,4\nq8,1,1\nq8 bytes,4,4.5\n", "row 4, column 'b': '4.5' is no whole number"),
        ("type,a,b\nq8,1,1\nq8,4,4\n", "row 3, column 'type': there is a second row 'q8'"),
        ("type,a,b\n,1,1\n", "row 2, column 'type': '' is no name of a format"),
        ("type,a,b\nelements,4,4\nnumel,4,4\nq8,1,1\n", "row 3, column '1': there are two rows for the elements"),
        ("type,a,b\nw4,1,1\n", "row 'shape', column 'a': nothing says how many weights layer 'a' has"),
        ("QTYPE,group0\nq8_0,0.1\n", "row 1, column 'group0': all tensors of the network were in one type at a time"),
        ("QTYPE,bpw,group0\nq8_0,8.5,0.1\n", "row 1, column 'group0': all tensors of the network were in one type"),
    ],
)
def test_what_is_wrong_in_a_transposed_table_is_named_by_its_place(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "broken.csv").write_text(text)
    with pytest.raises(InvalidInput, match=re.escape(f"broken.csv, {words}")):
        read_table(tmp_path / "broken.csv")
