"""Every command whose result has a picture draws it, and refuses before any work what cannot be drawn."""

from __future__ import annotations

import dataclasses
import re
import sys
from typing import TYPE_CHECKING

import pytest

from mckp_quant import Policy, SensitivityTable
from mckp_quant.cli import main

from ...drawn_tables import make_table

if TYPE_CHECKING:
    from pathlib import Path

NET = """
import torch

def model():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.ReLU(), torch.nn.Linear(5, 3))

def data():
    torch.manual_seed(1)
    return [(torch.randn(8, 4), torch.zeros(8, dtype=torch.int64)) for _ in range(4)]
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NET)
    table = make_table([[9.0, 3.0, 1.0], [5.0, 2.0, 1.0], [7.0, 1.0, 0.0]])
    dataclasses.replace(table, stderr=0.1 * table.loss).save("table.json")
    return tmp_path


def words_of(picture: Path) -> set[str]:
    """The texts in an SVG whose letters are letters."""
    return {each.strip() for each in re.findall(r"<text[^>]*>([^<]*)</text>", picture.read_text(encoding="utf-8"))}


def test_tables_give_pictures_of_policies_and_of_how_sure_they_are(here: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    budget = ("table.json", "--budget", "weight_bytes=70%")
    assert main(["solve", *budget, "--plot", "policy.svg"]) == 0
    assert main(["stability", *budget, "--draws", "5", "--plot", "stability.svg"]) == 0
    assert main(["front", *budget, "--plot", "front.PNG"]) == 0
    assert {"a", "b", "c", "bytes"} <= words_of(here / "policy.svg")
    assert {"a", "b", "c"} <= words_of(here / "stability.svg")
    assert (here / "front.PNG").read_bytes().startswith(b"\x89PNG")


def test_networks_give_pictures_of_what_was_measured(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    data = ("--data", "net.py:data")
    assert main(["measure", "net.py:model", *data, "--formats", "w2,w4,w8", "-o", "t.json", "--plot", "t.svg"]) == 0
    assert {"0", "2", "w2", "w8"} <= words_of(here / "t.svg")
    Policy.uniform(SensitivityTable.load("t.json"), "w4").save("w4.json")
    network = ("--model", "net.py:model", *data)
    assert main(["validate", "w4.json", *network, "--plot", "v.svg"]) in (0, 1)
    assert any(word.startswith("measured (") for word in words_of(here / "v.svg"))
    search = (
        "search",
        "t.json",
        "--budget",
        "bits_per_weight=12",
        *network,
        "--method",
        "random",
        "--evaluations",
        "3",
    )
    assert main([*search, "-o", "s.json", "--plot", "s.svg"]) == 0
    assert words_of(here / "s.svg")
    assert capsys.readouterr().err.count("wrote s.svg") == 1


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("policy.gif", "unknown kind of picture '.gif': did you mean '.svg'? known are: .png, .svg"),
        (".", "--plot '.' is a folder: name a file"),
        ("table.json/p.svg", "--plot 'table.json/p.svg' cannot be written: "),
    ],
)
def test_what_cannot_be_drawn_is_refused_before_any_work(
    file: str, words: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["solve", "no-table.json", "--budget", "bops=50%", "--plot", file]) == 2
    assert words in capsys.readouterr().err


def test_without_matplotlib_it_says_what_to_type(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["solve", "no-table.json", "--budget", "bops=50%", "--plot", "p.svg"]) == 2
    assert "pip install 'mckp-quant[plot]' -- everything but pictures works without it" in capsys.readouterr().err


def test_a_picture_is_no_input_of_the_result(here: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    solve = ["solve", "table.json", "--budget", "weight_bytes=70%", "-o", "policy.json"]
    assert main(solve) == 0
    assert main([*solve, "--plot", "policy.svg"]) == 0
