"""A result is replaced only by what the same inputs make, or where the user says so."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from mckp_quant import Policy, SensitivityTable
from mckp_quant.cli import main

from ..drawn_tables import make_table

SOLVE = ["solve", "table.json", "--budget", "weight_bytes=50%", "-o", "policy.json"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    make_table([[9.0, 3.0, 1.0], [5.0, 2.0, 1.0], [7.0, 1.0, 0.0]]).save("table.json")
    return tmp_path


def test_the_same_command_may_run_again_and_writes_the_same(here: Path) -> None:
    assert main(SOLVE) == 0
    first = Path("policy.json").read_bytes()
    assert main(SOLVE) == 0
    assert main([*SOLVE, "--json"]) == 0  # what is printed is no input
    assert Path("policy.json").read_bytes() == first


OTHERS = [
    ["--seed", "3"],
    ["--pin", "a=w4"],
    ["--solver", "highs"],
    ["--budget", "bits_per_weight=8"],
]


@pytest.mark.parametrize("more", OTHERS)
def test_other_options_replace_nothing_without_force(
    more: list[str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(SOLVE) == 0
    first = Path("policy.json").read_bytes()
    capsys.readouterr()
    assert main([*SOLVE, *more]) == 2
    assert capsys.readouterr().err == (
        "mckp-quant: -o 'policy.json' exists already and was made from other inputs: name another file, or replace it "
        "with --force\n"
    )
    assert Path("policy.json").read_bytes() == first
    assert main([*SOLVE, *more, "--force"]) == 0
    assert main([*SOLVE, *more]) == 0
    assert main(SOLVE) == 2


def test_another_table_under_the_same_name_replaces_nothing(here: Path) -> None:
    assert main(SOLVE) == 0
    make_table([[9.0, 3.0, 1.0], [5.0, 2.0, 1.0], [7.0, 1.0, 0.5]]).save("table.json")
    assert main(SOLVE) == 2
    assert main([*SOLVE, "--force"]) == 0


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b'{"schema": "mckp-quant/policy/1"}', b"my notes"])
def test_what_does_not_say_what_it_is_made_from_is_kept(
    content: bytes, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("policy.json").write_bytes(content)
    assert main(SOLVE) == 2
    assert "exists already and does not say from what it was made" in capsys.readouterr().err
    assert Path("policy.json").read_bytes() == content
    assert main([*SOLVE, "--force"]) == 0
    assert Policy.load("policy.json").layer_names == ("a", "b", "c")


def test_every_command_that_writes_a_file_keeps_to_it(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("kept.json").write_text("mine")
    table = ["table.json", "--budget", "weight_bytes=50%"]
    network = ["--model", "mckp_quant.demo:model", "--data", "mckp_quant.demo:calibration"]
    for command in (
        ["stability", *table],
        ["refine", *table, *network],
        ["confirm", *table, *network],
        ["search", *table, *network],
        ["measure", "mckp_quant.demo:model", *network[2:]],
        ["measure", "a.py:a", "--data", "a.py:b"],
    ):
        assert main([*command, "-o", "kept.json"]) == 2
        assert "-o 'kept.json' exists already" in capsys.readouterr().err
    assert Path("kept.json").read_text() == "mine"


def test_functions_in_files_are_inputs_and_checkpoints_are_not(here: Path) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    text = (
        "import torch\n\ndef model():\n    torch.manual_seed(0)\n    return torch.nn.Linear(4, 3)\n\n"
        "def data():\n    return [torch.ones(2, 4), torch.zeros(2, 4)]\n"
    )
    Path("net.py").write_text(text)
    assert torch is not None
    command = ["measure", "net.py:model", "--data", "net.py:data", "--formats", "w4", "-o", "t.json"]
    assert main([*command, "--checkpoint", "kept.npz"]) == 0
    assert main([*command, "--checkpoint", "kept.npz"]) == 0
    Path("net.py").write_text(text + "# changed\n")
    assert main([*command, "--checkpoint", "kept.npz"]) == 2
    assert SensitivityTable.load("t.json").format_names == ("w4",)
    assert main([*command, "--dry-run"]) == 0  # writes nothing


def test_an_export_may_run_again_and_other_folders_are_kept(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    assert main(SOLVE) == 0
    command = ["export", "policy.json", "--to", "json", "-o", "out"]
    assert main(command) == 0
    assert main(command) == 0
    assert {path.name for path in here.iterdir()} == {"table.json", "policy.json", "out"}
    assert json.loads(Path("out/export.json").read_text())["target"] == "json"
    assert main([*SOLVE, "--pin", "a=w4", "--force"]) == 0
    capsys.readouterr()
    assert main(command) == 2
    assert "-o 'out/export.json' exists already and was made from other inputs" in capsys.readouterr().err
    assert main([*command, "--force"]) == 0
    stray = here / ".mckp-quant-00000000-1-0123456789abcdef.tmp"
    (stray / "made").mkdir(parents=True)
    os.utime(stray, (0, 0))
    assert main([*command, "--force"]) == 0
    assert not stray.exists()  # of a run that was killed while it replaced an export
    Path("mine").mkdir()
    Path("mine/notes.txt").write_text("mine")
    assert main(["export", "policy.json", "--to", "json", "-o", "mine", "--force"]) == 2
    assert Path("mine/notes.txt").read_text() == "mine"
