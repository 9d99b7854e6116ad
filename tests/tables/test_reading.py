from __future__ import annotations

import dataclasses
import math
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings

from mckp_quant import Format, InvalidInput, Layer, SensitivityTable
from mckp_quant.formats.format import as_formats
from mckp_quant.tables import Handling, read_table, write_table
from mckp_quant.tables.findings import KEEP

from ..drawn_tables import make_table, tables

if TYPE_CHECKING:
    from pathlib import Path

FILES = ("table.json", "table.csv", "long.csv", "table.npz")


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


@settings(max_examples=40)
@given(table=tables())
def test_every_kind_of_file_brings_the_table_back(table: SensitivityTable, tmp_path_factory: Any) -> None:
    folder = tmp_path_factory.mktemp("tables")
    for name in FILES:
        write_table(table, folder / name, long=name.startswith("long"))
        imported = read_table(folder / name, handling=KEEP)
        same(imported.table, table)
        assert (imported.table.unit, imported.table.method) == (table.unit, table.method)
        assert (imported.table.samples, imported.table.seed) == (table.samples, table.seed)
        allowed = ~np.isnan(table.loss)
        assert np.array_equal(imported.table.stderr[allowed], table.stderr[allowed])
    for name in ("table.json", "table.npz"):
        found = read_table(folder / name, handling=KEEP).table.contributions
        assert np.array_equal(found, table.contributions, equal_nan=True)  # type: ignore[arg-type]


def test_published_headings_are_understood_and_exact_bytes_become_the_cost(tmp_path: Path) -> None:
    path = tmp_path / "kld.csv"
    path.write_text(
        "tensor;qtype;kld;bytes;elements\n"
        "blk.0.attn_q.weight;Q4_K;0.02;2304;4096\n"
        "blk.0.attn_q.weight;Q8_0;0.001;4352;4096\n"
        "blk.0.ffn_down.weight;Q4_K;0.05;9216;16384\n"
        "blk.0.ffn_down.weight;Q8_0;404;17408;16384\n"
    )
    table = read_table(path, handling=Handling(missing="drop")).table
    assert table.layer_names == ("blk.0.attn_q.weight", "blk.0.ffn_down.weight")
    assert table.loss[0].tolist() == [0.02, 0.001]
    assert math.isnan(table.loss[1, 1])
    assert [entry.storage_bytes(table.layers[0]) for entry in table.formats] == [2304, 4352]
    assert [entry.weight_bits for entry in table.formats] == [4, 8]


def test_layers_that_the_caller_knows_need_no_facts_in_the_file(tmp_path: Path) -> None:
    (tmp_path / "bare.csv").write_text("layer,w2,w4\nb,2,1\na,4,3\n")
    layers = [Layer("a", "linear", (2, 3), 2, 6), Layer("b", "conv2d", (4, 2), 4, 9)]
    table = read_table(tmp_path / "bare.csv", layers=layers).table
    assert table.layers == (layers[1], layers[0])
    assert table.loss.tolist() == [[2, 1], [4, 3]]
    own = Format("mine", 5, stored_bits=lambda layer: 5 * layer.elements)
    (tmp_path / "mine.csv").write_text("layer,w2,mine\nb,1,2\n")
    assert read_table(tmp_path / "mine.csv", layers=layers, formats=[own]).table.formats == (*as_formats("w2"), own)


def test_channels_are_the_first_side_of_the_shape_where_nothing_says_otherwise(tmp_path: Path) -> None:
    (tmp_path / "shapes.csv").write_text('layer,shape,w4\na,64x3x7x7,1\nb,"(10, 64)",1\nc,[7],1\n')
    table = read_table(tmp_path / "shapes.csv").table
    assert [layer.shape for layer in table.layers] == [(64, 3, 7, 7), (10, 64), (7,)]
    assert [layer.channels for layer in table.layers] == [64, 10, 7]


def test_archive_that_would_have_to_be_unpickled_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("something was unpickled")

    objects = np.array([{"a": 1}], dtype=object)
    np.savez(tmp_path / "table.npz", layer=objects, format=np.array(["w4"]), loss=np.ones((1, 1)))
    monkeypatch.setattr(pickle, "load", refuse)
    with pytest.raises(
        InvalidInput,
        match=r"cannot read the table '.*table.npz', array 'layer': it holds object, .*; nothing is unpickled",
    ):
        read_table(tmp_path / "table.npz")


@pytest.mark.parametrize("name", ["table.txt", "table"])
def test_files_of_no_known_kind_are_refused_on_both_ways(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInput, match="unknown kind of table"):
        read_table(tmp_path / name)
    with pytest.raises(InvalidInput, match="unknown kind of table"):
        write_table(make_table([[1.0, 2.0, 3.0]]), tmp_path / name)
    with pytest.raises(InvalidInput, match="long = True is for CSV"):
        write_table(make_table([[1.0, 2.0, 3.0]]), tmp_path / "table.npz", long=True)
    assert not list(tmp_path.iterdir())


def test_failed_archive_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(np, "savez_compressed", fail)
    with pytest.raises(OSError, match="no space left"):
        write_table(make_table([[1.0, 2.0, 3.0]]), tmp_path / "table.npz")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["table.json", "table.csv", "table.npz"])
@pytest.mark.parametrize("likelihood", ["gaussian", ""])
def test_what_the_outputs_were_taken_for_is_kept(tmp_path: Path, name: str, likelihood: str) -> None:
    table = dataclasses.replace(make_table([[3.0, 2.0, 1.0]]), likelihood=likelihood)
    write_table(table, tmp_path / name)
    assert read_table(tmp_path / name).table.likelihood == likelihood


@pytest.mark.parametrize("name", ["table.json", "table.csv", "table.npz"])
@pytest.mark.parametrize("rounder", ["gptq(damping=0.01, scales=(0.8, 1.0), ordered=True)", "nearest", ""])
def test_what_rounded_the_weights_is_kept(tmp_path: Path, name: str, rounder: str) -> None:
    table = dataclasses.replace(make_table([[3.0, 2.0, 1.0]]), rounder=rounder)
    write_table(table, tmp_path / name)
    assert read_table(tmp_path / name).table.rounder == rounder
