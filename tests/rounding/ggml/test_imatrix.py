"""Importance matrices of llama.cpp, of both forms."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from mckp_quant.errors import InvalidInput
from mckp_quant.layers import Layer
from mckp_quant.rounding import Importance, ImportanceMatrix

if TYPE_CHECKING:
    from pathlib import Path

gguf = pytest.importorskip("gguf")

SQUARES = {
    "blk.0.ffn_up.weight": np.linspace(0.5, 2, 8, dtype=np.float32).reshape(1, 8),
    "blk.0.ffn_gate_exps.weight": np.linspace(1, 3, 16, dtype=np.float32).reshape(2, 8),
}
UP = Layer("model.layers.0.mlp.up_proj", "linear", (4, 8), 4, None)


def write_dat(path: Path, calls: int = 4) -> Path:
    content = struct.pack("<i", len(SQUARES))
    for name, squares in SQUARES.items():
        content += struct.pack("<i", len(name)) + name.encode() + struct.pack("<ii", calls, squares.size)
        content += (squares * calls).astype("<f4").tobytes()
    path.write_bytes(content)
    return path


def write_gguf(path: Path, *, counts: bool = True) -> Path:
    writer = gguf.GGUFWriter(path, "imatrix")
    for name, squares in SQUARES.items():
        seen = np.arange(2, 2 + len(squares), dtype=np.float32)[:, None]
        writer.add_tensor(f"{name}.in_sum2", squares * seen)
        if counts:
            writer.add_tensor(f"{name}.counts", seen)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_both_forms_hold_mean_squares(tmp_path: Path) -> None:
    old = ImportanceMatrix.read(write_dat(tmp_path / "imatrix.dat"))
    new = ImportanceMatrix.read(write_gguf(tmp_path / "imatrix.gguf"))
    for name, squares in SQUARES.items():
        np.testing.assert_allclose(new.entries[name], squares, rtol=1e-6)
        np.testing.assert_allclose(np.ravel(old.entries[name]), np.ravel(squares), rtol=1e-6)
    assert old == ImportanceMatrix.read(write_dat(tmp_path / "again.dat"))
    assert hash(old) == hash(ImportanceMatrix(old.entries))
    assert old != ImportanceMatrix({})
    assert repr(new).startswith("<2 tensors, ")


def test_layers_are_found_by_the_names_of_network_and_file(tmp_path: Path) -> None:
    matrix = ImportanceMatrix.read(write_gguf(tmp_path / "imatrix.gguf"))
    by_file = Layer("blk.0.ffn_up", "linear", (4, 8), 4, None)
    wanted = torch.from_numpy(SQUARES["blk.0.ffn_up.weight"]).double()
    for layer in (UP, by_file):
        found = matrix.of(layer)
        assert found is not None
        torch.testing.assert_close(found, wanted)
    experts = matrix.of(Layer("model.layers.0.mlp.experts.gate_up_proj", "experts", (2, 6, 8), 12, None))
    assert experts is not None
    assert tuple(experts.shape) == (2, 8)
    assert matrix.of(Layer("model.embed_tokens", "embedding", (9, 8), 9, None)) is None
    assert matrix.of(Layer("lm_head", "linear", (9, 8), 9, None)) is None
    with pytest.raises(InvalidInput, match=r"layer 'model.layers.1.mlp.up_proj' is not in the importance matrix: unkn"):
        matrix.of(Layer("model.layers.1.mlp.up_proj", "linear", (4, 8), 4, None))
    with pytest.raises(InvalidInput, match=r"has 4 rows of 6 weights, but the importance matrix has 1 x 8 inputs"):
        matrix.of(Layer(UP.name, "linear", (4, 6), 4, None))
    with pytest.raises(InvalidInput, match=r"unknown architecture of llama.cpp 'lama': did you mean 'llama'"):
        ImportanceMatrix({}, "lama")


def test_files_that_are_none_or_damaged_are_refused(tmp_path: Path) -> None:
    whole = write_dat(tmp_path / "a.dat").read_bytes()
    for count in (5, 30, len(whole) - 1):
        (tmp_path / "cut.dat").write_bytes(whole[:count])
        with pytest.raises(InvalidInput, match=r"cut.dat'.* it ends within an entry"):
            ImportanceMatrix.read(tmp_path / "cut.dat")
    (tmp_path / "empty.dat").write_bytes(struct.pack("<i", 0))
    with pytest.raises(InvalidInput, match="it holds no tensor"):
        ImportanceMatrix.read(tmp_path / "empty.dat")
    with pytest.raises(InvalidInput, match="not how many inputs that is over"):
        ImportanceMatrix.read(write_gguf(tmp_path / "b.gguf", counts=False))
    name = b"blk.0.ffn_up.weight"
    content = struct.pack("<ii", 1, len(name)) + name + struct.pack("<ii", 1, 1) + struct.pack("<f", -1)
    (tmp_path / "minus.dat").write_bytes(content)
    with pytest.raises(InvalidInput, match=r"the entry 'blk.0.ffn_up.weight' holds numbers that are no mean squares"):
        ImportanceMatrix.read(tmp_path / "minus.dat")


def test_a_bank_is_named_after_the_content(tmp_path: Path) -> None:
    first, second = (ImportanceMatrix.read(write_dat(tmp_path / f"{at}.dat")) for at in range(2))
    assert Importance(first) == Importance(second)
    assert Importance(first).needs == "nothing"
    assert Importance().needs == "inputs"
