from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mckp_quant import InvalidInput, Layer, SensitivityTable, read_table
from mckp_quant.tables import Handling, table_from_arrays, write_table
from mckp_quant.tables.sizes import read_sizes

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("blk.0.q", "blk.0.k")
MAP = "part.gguf:0a1f:blk.0.q.weight:shape=(256, 4):dtype=q4_K:elements=1024:bytes=576\n"
WIDE = "QTYPE,bpw,blk.0.q.weight\nq4_K,4.5,+2.5%\niq9_z,9,404%\n"


def test_sizes_come_from_every_kind_of_file(tmp_path: Path) -> None:
    shape = (4, 256)
    layers = tuple(Layer(name, "linear", shape, 4, None) for name in NAMES)
    header = json.dumps(
        {"__metadata__": {}, "blk.0.q.weight": {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]}}
    )
    (tmp_path / "a.safetensors").write_bytes(len(header).to_bytes(8, "little") + header.encode())
    (tmp_path / "a.map").write_text(MAP)
    (tmp_path / "a.json").write_text(json.dumps({"blk.0.q": shape, "blk.0.k": shape}))
    (tmp_path / "a.csv").write_text("layer,shape,w4\nblk.0.q,4x256,1\n")
    (tmp_path / "b.csv").write_text("layer,format,loss,bytes,elements\nblk.0.q,q4_K,1,576,1024\n")
    loss = np.ones((2, 1))
    made = read_table_of(layers, loss)
    write_table(made, tmp_path / "b.json")
    for name in ("a.safetensors", "a.map", "a.json", "a.csv", "b.csv", "b.json", ""):
        layer = read_sizes(tmp_path / name).layer("blk.0.q")
        assert layer is not None
        assert layer.elements == 1024
        assert layer.channels == (None if name == "b.csv" else 4), name
    assert read_sizes(tmp_path / "a.json").layer("blk.0") == Layer("blk.0", "", (2048,), None, None)
    assert read_sizes(tmp_path / "a.json").layer("blk.1") is None


def read_table_of(layers: tuple[Layer, ...], loss: np.ndarray[Any, Any]) -> SensitivityTable:
    return table_from_arrays(loss, layers, ["w4"]).table


def test_a_tool_suite_table_has_percent_cells_and_bytes_from_a_map(tmp_path: Path) -> None:
    (tmp_path / "kld.csv").write_text(WIDE)
    (tmp_path / "tensors.bf16.map").write_text(MAP.replace("q4_K", "bf16").replace("576", "2048"))
    (tmp_path / "tensors.iq9_z.map").write_text(MAP.replace("q4_K", "iq9_z").replace("576", "1100"))
    found = read_table(tmp_path / "kld.csv", shapes=tmp_path, handling=Handling(missing="drop"))
    table = found.table
    assert table.layer_names == ("blk.0.q.weight",)  # bpw is no layer
    assert table.loss[0].tolist() == pytest.approx([0.025, np.nan], nan_ok=True)
    assert [entry.storage_bytes(table.layers[0]) for entry in table.formats] == [4 * 144, 1100]
    assert "404%" in found.report()
    with pytest.raises(InvalidInput, match="unknown format 'iq9_z'"):  # neither a type of ggml nor in a map
        read_table(tmp_path / "kld.csv", shapes=tmp_path / "tensors.bf16.map", handling=Handling(missing="drop"))


def test_sizes_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.map").write_text("nonsense\n")
    (tmp_path / "a.csv").write_text("layer,w4\na,1\n")
    (tmp_path / "a.json").write_text("[]")
    (tmp_path / "b.json").write_text('{"a": "wide"}')
    (tmp_path / "a.safetensors").write_bytes(b"\xff" * 16)
    (tmp_path / "a.txt").write_text("")
    for name, words in (
        ("empty", "has neither .map nor .safetensors files"),
        ("a.map", "row 1: 'nonsense' is no line of a .map"),
        ("a.csv", "has neither a column 'shape' nor a column 'elements'"),
        ("a.json", "holds no object from names of layers to shapes"),
        ("b.json", "'wide' is no"),
        ("a.safetensors", "is no safetensors file"),
        ("a.txt", "unknown kind of file with shapes '.txt'"),
    ):
        with pytest.raises(InvalidInput, match=words):
            read_sizes(tmp_path / name)
    made = read_table_of((Layer("a", "linear", (2, 8), 2, None),), np.ones((1, 1)))
    write_table(made, tmp_path / "own.json")
    (tmp_path / "c.json").write_text('{"a": [2, 8]}')
    with pytest.raises(InvalidInput, match="says itself how large its layers are: leave the shapes away"):
        read_table(tmp_path / "own.json", shapes=tmp_path / "c.json")


def test_odd_shapes_are_refused_with_their_file(tmp_path: Path) -> None:
    header = json.dumps({"a": {"dtype": "F32", "shape": [{}, 2], "data_offsets": [0, 8]}})
    nested = "[" * 3000 + "]" * 3000
    files = {
        "a.safetensors": (len(header).to_bytes(8, "little") + header.encode(), "{} is no whole number"),
        "b.safetensors": (len(nested).to_bytes(8, "little") + nested.encode(), "nested more than 64 deep"),
        "a.json": (b'{"tiny": {"n_block": 2, "linear_shape": 1.5}}', "cannot be read"),
        "b.json": (
            b'{"tiny": {"n_block": 1000000000, "linear_shape": {"q": [2, 2]}}}',
            "1,000,000,000 blocks of 1 layers are more than 1,000,000",
        ),
    }
    for name, (content, words) in files.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InvalidInput, match=rf"{name}.*{words}"):
            read_sizes(tmp_path / name)
