from __future__ import annotations

import dataclasses
import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings

from mckp_quant import Format, InvalidInput, Layer, SensitivityTable
from mckp_quant.formats.format import as_formats

from ..drawn_tables import OWN, make_table, tables

if TYPE_CHECKING:
    from pathlib import Path

LAYERS = (Layer("a", "linear", (2, 3), 2, 6), Layer("b", "linear", (3, 3), 3, 9, ties=("c",)))
ARRAYS = ("loss", "stderr", "contributions", "batch_sizes")


@settings(max_examples=50)
@given(table=tables())
def test_file_keeps_every_field_to_the_last_bit(table: SensitivityTable, tmp_path_factory: Any) -> None:
    path = tmp_path_factory.mktemp("table") / "table.json"
    table.save(path)
    loaded = SensitivityTable.load(path)
    for name in ARRAYS:
        assert np.array_equal(getattr(loaded, name), getattr(table, name), equal_nan=True)
    assert (loaded.layers, loaded.format_names) == (table.layers, table.format_names)
    assert (loaded.unit, loaded.method, loaded.samples, loaded.seed) == (
        table.unit,
        table.method,
        table.samples,
        table.seed,
    )
    assert loaded.digest == table.digest
    for own, entry in zip(table.formats, loaded.formats, strict=True):
        assert [entry.storage_bits(layer) for layer in table.layers] == [
            own.storage_bits(layer) for layer in table.layers
        ]
        assert (entry.weight_bits, entry.activation_bits) == (own.weight_bits, own.activation_bits)


def test_table_is_a_copy_and_cannot_be_written_to() -> None:
    loss = np.ones((2, 2))
    table = SensitivityTable(LAYERS, as_formats("w2,w4"), loss, loss)
    loss[0, 0] = 7
    assert table.loss[0, 0] == 1
    with pytest.raises(ValueError, match="read-only"):
        table.loss[0, 0] = 7
    with pytest.raises(dataclasses.FrozenInstanceError):
        table.unit = "bits"  # type: ignore[misc]


def test_digest_changes_with_whatever_a_policy_depends_on() -> None:
    table = make_table([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    loss = table.loss.copy()
    loss[1, 2] = np.nextafter(6.0, 7.0)
    renamed = (table.layers[0], dataclasses.replace(table.layers[1], name="z"))
    wider = (table.layers[0], dataclasses.replace(table.layers[1], channels=1))
    others = [
        dataclasses.replace(table, loss=loss),
        dataclasses.replace(table, layers=renamed),
        dataclasses.replace(table, layers=wider),
        dataclasses.replace(table, formats=as_formats("w2,w4,w7")),
    ]
    assert len({each.digest for each in [table, *others]}) == 5
    assert dataclasses.replace(table, seed=9, method="other").digest == table.digest


def test_rows_and_columns_are_found_by_name() -> None:
    table = make_table([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    assert (table.row("b"), table.column("w8")) == (1, 2)
    with pytest.raises(InvalidInput, match="unknown layer 'bb': did you mean 'b'"):
        table.row("bb")
    with pytest.raises(InvalidInput, match="unknown format 'w16'"):
        table.column("w16")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"layers": ()}, "a table of 0 layers and 2 formats is empty"),
        ({"formats": ()}, "a table of 2 layers and 0 formats is empty"),
        ({"layers": (LAYERS[0], LAYERS[0])}, "layer 'a' stands twice in the table"),
        ({"formats": as_formats("w2") * 2}, "format 'w2' stands twice in the table"),
        ({"loss": np.ones((2, 3))}, r"loss has the shape \(2, 3\): it must be \(2, 2\)"),
        ({"loss": [[1, 2], [3]]}, "loss is not a table of numbers"),
        ({"loss": [[1, "much"], [3, 4]]}, "loss is not a table of numbers"),
        ({"loss": [[1, math.inf], [3, 4]]}, r"loss\[0, 1\] \(layer 'a', format 'w4'\) is inf: entries must be finite"),
        ({"stderr": [[1, 2], [-math.inf, 4]]}, r"stderr\[1, 0\] \(layer 'b', format 'w2'\) is -inf"),
        ({"contributions": np.ones((3, 2, 2))}, "contributions come without batch_sizes"),
        ({"contributions": np.ones((3, 2, 1)), "batch_sizes": np.ones(3)}, r"contributions has the shape \(3, 2, 1\)"),
        (
            {"contributions": np.ones((3, 2, 2)), "batch_sizes": np.ones(2)},
            r"batch_sizes has the shape \(2,\): it must be \(3,",
        ),
        ({"contributions": np.ones((1, 2, 2)), "batch_sizes": [math.inf]}, r"batch_sizes\[0\] is inf"),
    ],
)
def test_tables_that_make_no_sense_are_refused(change: dict[str, Any], words: str) -> None:
    table = SensitivityTable(LAYERS, as_formats("w2,w4"), np.ones((2, 2)), np.ones((2, 2)))
    with pytest.raises(InvalidInput, match=words):
        dataclasses.replace(table, **change)


def spoil(document: dict[str, Any], change: str) -> dict[str, Any]:
    """The document with one thing wrong."""
    layer, entry = document["layers"][0], document["formats"][-1]
    if change == "no loss":
        del document["loss"]
    elif change == "strange layer":
        layer["colour"] = "red"
    elif change == "no shape":
        del layer["shape"]
    elif change == "no elements":
        layer["shape"] = [0, 3]
    elif change == "layers":
        document["layers"] = 3
    elif change == "samples":
        document["samples"] = "many"
    elif change == "format":
        document["formats"][0] = {"name": "w9"}
    elif change == "bits":
        entry["stored_bits"] = {"a": "ten"}
    elif change == "no bits":
        del entry["weight_bits"]
    elif change == "built in":
        entry["name"] = "w5"
    elif change == "text":
        document["formats"][0] = "w4"
    elif change == "column":
        document["formats"].pop()
    return document


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("no loss", r"the table '.*table.json' lacks the field 'loss'"),
        ("strange layer", "the table '.*', layers, row 0 has an entry that cannot be read: .*colour"),
        ("no shape", "has an entry that cannot be read: 'shape'"),
        ("no elements", r"shape\[0\] of layer 'a' is 0: it must"),
        ("layers", "has layers = 3: it must be a list"),
        ("samples", "has samples = .many.: it must be a whole number"),
        ("format", "unknown format 'w9': weights have 1 to 8 bits"),
        ("bits", r"has a format that cannot be read, .*ValueError"),
        ("no bits", r"has a format that cannot be read, .*KeyError: 'weight_bits'"),
        ("built in", "format 'w5' is built in and cannot have stored bits of its own"),
        ("text", "has a format that cannot be read, 'w4'"),
        ("column", r"loss has the shape \(2, 3\): it must be \(2, 2\)"),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, change: str, words: str) -> None:
    path = tmp_path / "table.json"
    SensitivityTable(LAYERS, (*as_formats("w2,w4"), OWN), np.ones((2, 3)), np.ones((2, 3))).save(path)
    SensitivityTable.load(path)
    path.write_text(json.dumps(spoil(json.loads(path.read_text()), change)))
    with pytest.raises(InvalidInput, match=words):
        SensitivityTable.load(path)


def test_recorded_bits_are_known_only_for_the_layers_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    SensitivityTable(LAYERS, (OWN,), np.ones((2, 1)), np.ones((2, 1))).save(path)
    entry = SensitivityTable.load(path).formats[0]
    assert entry.storage_bits(LAYERS[1]) == OWN.storage_bits(LAYERS[1])
    with pytest.raises(InvalidInput, match="unknown layer 'z'"):
        entry.storage_bits(Layer("z", "linear", (1, 1), 1, 1))


def test_format_objects_are_kept_in_memory() -> None:
    table = SensitivityTable(LAYERS, (OWN, Format.named("w2")), np.ones((2, 2)), np.ones((2, 2)))
    assert table.formats[0] is OWN
