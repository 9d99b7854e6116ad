from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given

from mckp_quant import Activation, InvalidInput, Layer, SensitivityTable
from mckp_quant.formats.ranges import ActivationRanges
from mckp_quant.tables import Handling, read_activations, read_table, write_table
from mckp_quant.tables.findings import KEEP
from mckp_quant.tables.readers.csv_files import as_csv

from ..drawn_tables import make_table, tables

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
def test_a_wide_table_says_the_same_on_its_side(
    tmp_path_factory: pytest.TempPathFactory, table: SensitivityTable
) -> None:
    upright = as_csv(table).splitlines()
    comments = [line for line in upright if line.startswith("#")]
    rows = list(csv.reader(line for line in upright if not line.startswith("#")))
    rows[0][0] = "format"
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(zip(*rows, strict=True))
    path = tmp_path_factory.mktemp("sideways") / "table.csv"
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
    ],
)
def test_what_is_wrong_on_its_side_is_named_by_its_place(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "broken.csv").write_text(text)
    with pytest.raises(InvalidInput, match=re.escape(f"broken.csv, {words}")):
        read_table(tmp_path / "broken.csv")


@pytest.mark.parametrize(
    ("array", "entry", "words"),
    [
        ("macs", 1.5, "row 0, column 'macs': 1.5 is no whole number"),
        ("channels", 2.5, "row 0, column 'channels': 2.5 is no whole number"),
        ("stored_bits", 64.5, "row 0, column 'stored bits of w2': 64.5 is no whole number"),
        ("activation_first", 0.5, "row 0, column 'activation_first': 0.5 is no whole number"),
        ("activation_elements", 0.0, "row 0, column 'activation_elements': elements of an activation is 0"),
        ("activation_readers", 3.0, "row 0, column 'activation_readers': the array has the type float64"),
    ],
)
def test_no_fraction_in_an_array_is_cut_off(tmp_path: Path, array: str, entry: float, words: str) -> None:
    table = make_table([[3.0, 2.0, 1.0]])
    write_table(_with_tensors(table), tmp_path / "table.npz")
    with np.load(tmp_path / "table.npz") as archive:
        arrays = {name: archive[name] for name in archive.files}
    arrays[array] = np.full(arrays[array].shape, entry)
    np.savez(tmp_path / "broken.npz", **arrays)
    with pytest.raises(InvalidInput, match=re.escape(words)):
        read_table(tmp_path / "broken.npz")


def _with_tensors(table: SensitivityTable) -> SensitivityTable:
    tensors = (Activation(8, 0, 1, ("a",)), Activation(3, 1, 1))
    return SensitivityTable(table.layers, table.formats, table.loss, table.stderr, activations=tensors)


@pytest.mark.parametrize("kind", ["json", "npz"])
def test_ranges_of_activations_survive_a_file(tmp_path: Path, kind: str) -> None:
    ranges = ActivationRanges("mse", 8, {("a", "a8"): (-0.1, 1 / 3)})
    table = dataclasses.replace(make_table([[3.0, 2.0, 1.0]]), ranges=ranges)
    write_table(table, tmp_path / f"table.{kind}")
    assert read_table(tmp_path / f"table.{kind}").table.ranges == ranges
    assert (tmp_path / f"table.{kind}").stat().st_mode & 0o444 == 0o666 & ~_umask() & 0o444


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


@pytest.mark.parametrize("text", ["{", '{"rule": "mse", "samples": 8}'])
def test_ranges_in_an_array_that_are_damaged_are_refused(tmp_path: Path, text: str) -> None:
    write_table(make_table([[3.0, 2.0, 1.0]]), tmp_path / "table.npz")
    with np.load(tmp_path / "table.npz") as archive:
        arrays = {name: archive[name] for name in archive.files}
    np.savez(tmp_path / "broken.npz", **arrays, activation_ranges=np.array(text))
    with pytest.raises(
        InvalidInput, match=r"broken\.npz.* (column 'activation_ranges': Expecting|lacks the field 'ran)"
    ):
        read_table(tmp_path / "broken.npz")


@pytest.mark.parametrize("kind", ["json", "npz"])
def test_activation_tensors_survive_a_file(tmp_path: Path, kind: str) -> None:
    table = _with_tensors(make_table([[3.0, 2.0, 1.0]]))
    write_table(table, tmp_path / f"table.{kind}")
    assert read_table(tmp_path / f"table.{kind}").table.activations == table.activations


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[", "row 1, column 2: Expecting value"),
        ("{}", "must hold a list of activation tensors"),
        ("[3]", "row 0: 3 must hold elements, first, last"),
        ('[{"elements": 1, "first": 0}]', "must hold elements, first, last"),
        (
            '[{"elements": 1.5, "first": 0, "last": 0}]',
            "row 0: elements of an activation is 1.5: it must be",
        ),
        (
            '[{"elements": 1, "first": 2, "last": 0}]',
            "whose first is 2 is 0: it must be a whole number, at least 2",
        ),
        ('[{"elements": 1, "first": 0, "last": 0, "readers": "a"}]', "readers = 'a' must be a list of names"),
    ],
)
def test_activation_files_that_cannot_be_read_say_where(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "tensors.json").write_text(content)
    with pytest.raises(InvalidInput, match=re.escape(words)):
        read_activations(tmp_path / "tensors.json")
    with pytest.raises(InvalidInput, match="cannot read the activations"):
        read_activations(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("field", "entry"), [("shape", [2, 50.5]), ("macs", 1.5), ("channels", 2.5), ("seed", 0.5), ("samples", 1.5)]
)
def test_no_fraction_in_a_document_is_cut_off(tmp_path: Path, field: str, entry: object) -> None:
    path = tmp_path / "table.json"
    make_table([[3.0, 2.0, 1.0]]).save(path)
    document = json.loads(path.read_text())
    (document if field in document else document["layers"][0])[field] = entry
    path.write_text(json.dumps(document))
    with pytest.raises(InvalidInput, match=rf"table.json.*{field}.*whole number"):
        read_table(path)
