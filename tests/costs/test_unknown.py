"""What a table does not say is not counted as 0: budgets on it are refused, and reports leave it out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from mckp_quant import InvalidInput, Layer, Policy, Request, SensitivityTable, allocate
from mckp_quant.allocation.choices import allowed
from mckp_quant.cli.entry import main
from mckp_quant.costs.costs import RESOURCES, VARIANTS
from mckp_quant.formats.format import as_formats
from mckp_quant.tables import read_table, write_table

if TYPE_CHECKING:
    from pathlib import Path

OPERATIONS = [name for name, kind in (RESOURCES | VARIANTS).items() if kind.per_mac]


def read(folder: Path, text: str, name: str = "table.csv") -> SensitivityTable:
    (folder / name).write_text(text)
    return read_table(folder / name).table


def test_operations_are_what_is_counted_by_multiply_accumulates() -> None:
    assert OPERATIONS == ["bops", "bops_uniq", "bops_gates"]


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("asked", [1, "50%"])
def test_a_budget_on_operations_needs_macs(name: str, asked: int | str, tmp_path: Path) -> None:
    table = read(tmp_path, "layer,shape,w4,w8\na,8x8,1,0.1\nb,8x8,1,0.1\n")
    with pytest.raises(InvalidInput, match=f"{name} cannot be counted: the table says of no layer .* column 'macs'"):
        allocate(table, {name: asked})
    some = read(tmp_path, "layer,shape,macs,w4,w8\na,8x8,64,1,0.1\nb,8x8,,1,0.1\n")
    words = f"{name} cannot be counted: .* does not say how many multiply-accumulates layer 'b' takes; .* column 'macs'"
    with pytest.raises(InvalidInput, match=words):
        allocate(some, {name: asked})
    with pytest.raises(InvalidInput, match=words):
        allocate(some, Request({"weight_bytes": "90%"}, at_least={name: asked}))


def test_no_operations_at_all_are_no_budget(tmp_path: Path) -> None:
    layers = tuple(Layer(name, "linear", (8, 8), 8, 0) for name in "ab")
    table = SensitivityTable(layers, as_formats("w4,w8"), np.array([[1, 0.1], [1, 0.1]]), np.full((2, 2), np.nan))
    with pytest.raises(InvalidInput, match=r"bops cannot be counted: the table says of no layer"):
        allocate(table, {"bops": 1})


def test_reports_leave_out_what_is_not_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = read(tmp_path, "layer,shape,w4,w8\na,8x8,1,0.1\nb,8x8,1,0.1\n")
    assert set(Policy.uniform(table, "w4").costs) == {"weight_bytes", "stored_bits"}
    assert main(["solve", str(tmp_path / "table.csv"), "--budget", "weight_bytes=80%"]) == 0
    printed = capsys.readouterr().out
    assert "bytes" in printed
    assert "bit operations" not in printed
    assert main(["solve", str(tmp_path / "table.csv"), "--budget", "bops=1"]) == 2
    assert "column 'macs'" in capsys.readouterr().err
    known = read(tmp_path, "layer,shape,macs,w4,w8\na,8x8,64,1,0.1\nb,8x8,0,1,0.1\n")
    assert Policy.uniform(known, "w4").costs["bops"] == 64 * 4 * 32


SIZED = "tensor,qtype,kld,bytes,elements\na,Q4_K,1,144,256\na,own,0.1,300,256\nb,Q4_K,1,144,256\nb,own,0.1,300,256\n"


def test_channels_that_nobody_gave_are_not_one(tmp_path: Path) -> None:
    table = read(tmp_path, SIZED)
    assert [layer.channels for layer in table.layers] == [None, None]
    with pytest.raises(InvalidInput, match=r"how many channels layer 'a' has, .*: give a column 'shape' or 'channels'"):
        as_formats("w4")[0].storage_bits(table.layers[0])
    with pytest.raises(InvalidInput, match=r"layer 'a' has, .*: give a column 'shape' or 'channels'"):
        _ = table.layers[0].row
    assert allocate(table, {"weight_bytes": 444}).policy.costs["weight_bytes"] == 444


def test_blocks_of_a_file_that_gives_their_bytes_fit_its_rows(tmp_path: Path) -> None:
    table = read(tmp_path, SIZED)
    assert allowed(table, target="gguf").tolist() == [[True, False], [True, False]]
    assert allocate(table, {"weight_bytes": 288}, target="gguf").policy.costs["weight_bytes"] == 288
    padded = read(tmp_path, SIZED.replace("Q4_K,1,144", "Q4_K,1,150"))
    with pytest.raises(InvalidInput, match=r"nothing says how long its rows are \(a column 'shape' or 'channels'\)"):
        allowed(padded, target="gguf")


def test_kinds_that_nobody_gave_are_not_linear(tmp_path: Path) -> None:
    table = read(tmp_path, "layer,shape,w4,w8\na,8x8,1,0.1\nconv,8x3x3x3,1,0.1\n")
    with pytest.raises(InvalidInput, match=r"nothing says of which kind layer 'a' is, .*'kind:linear'.* column 'kind'"):
        allocate(table, Request({"weight_bytes": "90%"}, choices={"kind:linear": ["w8"]}))
    with pytest.raises(InvalidInput, match=r"layer 'conv': .* nothing says of which kind the layer is"):
        allocate(table, {"weight_bytes": "90%"}, target="openvino")
    assert allocate(table, Request({"weight_bytes": "99%"}, choices={"a": ["w8"]})).policy["a"].name == "w8"


@pytest.mark.parametrize("name", ["t.json", "t.csv", "t.npz", "long.csv"])
def test_what_is_not_known_stays_unknown_in_files(name: str, tmp_path: Path) -> None:
    for text in (SIZED, "layer,shape,macs,w4,w8\na,8x8,64,1,0.1\nb,8x8,,1,0.1\n"):
        table = read(tmp_path, text)
        write_table(table, tmp_path / name, long=name.startswith("long"))
        again = read_table(tmp_path / name).table
        assert again.layers == table.layers
        assert again.digest == table.digest
