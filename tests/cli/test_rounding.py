"""The command that makes weight banks."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mckp_quant import Format, WeightBank
from mckp_quant.cli import main
from mckp_quant.cli.load import load_model
from mckp_quant.rounding import quantize

if TYPE_CHECKING:
    from pathlib import Path

NET = """
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = torch.nn.Linear(6, 8), torch.nn.Linear(8, 3)
        self.table = torch.nn.Embedding(4, 6)

    def forward(self, x):
        return self.last(torch.relu(self.first(x + self.table((x[:, 0] > 0).long()))))

def model():
    torch.manual_seed(0)
    return Net()
"""
COMMAND = ["round", "net.py:model", "--data", "data.npz", "--formats", "w2,w4", "-o", "bank"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NET)
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "data.npz", inputs=rng.normal(size=(64, 6)).astype(np.float32))
    return tmp_path


def test_round_writes_a_bank_and_says_what_is_in_it(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*COMMAND, "--max-batches", "1"]) == 0
    out, err = capsys.readouterr()
    assert err.splitlines()[-1] == "wrote bank"
    lines = out.splitlines()
    assert lines[0].startswith("3 layers in w2, w4, by gptq(damping=0.01, ")
    assert lines[0].endswith(") on 32 samples")
    total = sum(path.stat().st_size for path in (here / "bank").glob("*.safetensors"))
    assert lines[1].startswith(f"{total:,} bytes on disk, ")
    assert lines[2] == "rounded to nearest, because no input was seen: table"
    rows = {line.split()[0]: line.split() for line in lines[5:]}
    assert rows["first"][1:6] == ["linear", "8", "x", "6", "gptq"]
    assert rows["table"][5] == "nearest"
    bank = WeightBank.load("bank")
    bank.check(load_model("net.py:model"))
    assert (bank.samples, bank.as_nearest, bank.target) == (32, ("table",), "")


def test_auto_rounds_to_the_menu_of_the_target(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = ["--formats", "auto", "--target", "onnxruntime", "--layers", "last", "--rounder", "nearest"]
    assert main([*COMMAND, *chosen]) == 0
    assert [entry.name for entry in WeightBank.load("bank").formats] == ["w4", "w8"]


def test_json_of_round_is_the_document_with_what_it_took(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--rounder", "nearest", "--target", "torchao", "--layers", "first,last", "--json"]
    assert main([*COMMAND, *options]) == 0
    printed = json.loads(capsys.readouterr().out)
    written = json.loads((here / "bank" / "bank.json").read_text())
    assert printed.pop("schema") == "mckp-quant/rounded/1"
    assert printed.pop("seconds") > 0
    assert printed.pop("output") == "bank"
    assert set(printed.pop("bytes")) == {"first", "last"}
    assert written.pop("schema") == "mckp-quant/bank/1"
    assert printed == written
    assert (written["rounder"], written["target"], written["samples"]) == ("nearest", "torchao", 0)


def test_the_same_command_goes_on_and_another_bank_is_replaced_only_by_force(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(COMMAND) == 0
    kept = {path.name: path.stat().st_mtime_ns for path in (here / "bank").glob("*.safetensors")}
    assert main(COMMAND) == 0
    assert {path.name: path.stat().st_mtime_ns for path in (here / "bank").glob("*.safetensors")} == kept
    capsys.readouterr()
    assert main([*COMMAND, "--formats", "w3"]) == 2
    said = capsys.readouterr().err
    assert "the folder 'bank' holds another bank: its formats are w2, w4, and should be w3; name another folder" in said
    assert "--force" in said
    assert main([*COMMAND, "--formats", "w3", "--force"]) == 0
    assert [entry.name for entry in WeightBank.load("bank").formats] == ["w3"]


def test_a_file_of_llama_imatrix_weighs_errors(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("gguf")
    content = struct.pack("<i", 2)
    for name, squares in (("first.weight", [1, 1, 1, 1, 1, 90]), ("last.weight", [1] * 8)):
        content += struct.pack("<i", len(name)) + name.encode() + struct.pack("<ii", 1, len(squares))
        content += np.array(squares, "<f4").tobytes()
    (here / "imatrix.dat").write_bytes(content)
    command = ["round", "net.py:model", "--data", "data.npz", "--formats", "q4_0", "--imatrix", "imatrix.dat"]
    assert main([*command, "--rounder", "gptq", "-o", "bank"]) == 2
    assert "--rounder gptq and --imatrix: only importance reads such a file" in capsys.readouterr().err
    assert main([*command, "--architecture", "lama", "-o", "bank"]) == 2
    assert "unknown architecture of llama.cpp 'lama'" in capsys.readouterr().err
    assert main([*command, "-o", "bank"]) == 0
    network: Any = load_model("net.py:model")
    bank, weight = WeightBank.load("bank"), network.first.weight.detach()
    assert bank.rounder.startswith("importance(matrix=<2 tensors, ")
    plain = quantize(weight, Format.named("q4_0"), bank.layer("first"))
    off, before = ((each - weight).abs().sum(dim=0) for each in (bank.weight("first", Format.named("q4_0")), plain))
    assert float(off[5]) < 0.5 * float(before[5])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--rounder", "gptp"], "unknown rounder 'gptp': did you mean 'gptq'?"),
        (["--target", "torchoa"], "unknown target 'torchoa': did you mean 'torchao'?"),
        (["--layers", "firts"], "there is no layer 'firts'"),
        (["--formats", "a8"], "none of the formats stores weights"),
        (["--max-batches", "0"], "--max-batches is 0"),
        (["-o", "net.py"], "is no folder"),
    ],
)
def test_what_is_wrong_is_said_and_no_bank_is_touched(
    here: Path, options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*COMMAND, *options]) == 2
    assert words in capsys.readouterr().err
    assert not (here / "bank").exists()


def test_help_names_the_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["round", "--help"]) == 0
    out = capsys.readouterr().out
    for option in ("--data", "--formats", "--target", "--rounder", "--layers", "--max-batches", "--force", "--json"):
        assert option in out
