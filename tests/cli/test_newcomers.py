"""Fifteen things that newcomers get wrong: each is answered by one sentence that says what to type."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mckp_quant import Policy
from mckp_quant.cli import main

from ..drawn_tables import make_table

if TYPE_CHECKING:
    from pathlib import Path

NET = """
import torch

def model():
    return torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.Linear(5, 3))

def images():
    return [torch.ones(2, 4), torch.zeros(2, 4)]

def wide():
    return [torch.ones(2, 7)]
"""
BUDGET = ("--budget", "weight_bytes=80%")
NETWORK = ("net.py:model", "--data", "net.py:images")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NET)
    (tmp_path / "weights.pt").write_bytes(b"")
    (tmp_path / "results").mkdir()
    np.savez(tmp_path / "images.npz", inputs=np.zeros((2, 4)))
    table = make_table([[9.0, 3.0, 1.0], [5.0, 2.0, 1.0]])
    table.save("table.json")
    Policy.uniform(table, "w4").save("policy.json")
    return tmp_path


FIFTEEN: dict[str, tuple[list[str], int, str]] = {
    "a budget without its name": (
        ["solve", "table.json", "--budget", "90kB"],
        2,
        "--budget '90kB' cannot be read: write --budget NAME=VALUE, such as weight_bytes=90kB",
    ),
    "a budget as a ratio": (
        ["solve", "table.json", "--budget", "weight_bytes=0.25"],
        2,
        "budget weight_bytes = '0.25' is less than one: for a share of what the costliest allowed formats take write "
        "weight_bytes=25%",
    ),
    "a budget that nothing meets": (
        ["solve", "table.json", "--budget", "weight_bytes=10"],
        1,
        "budget weight_bytes = 10 cannot be met: even the cheapest formats take 91 bytes, the least that works",
    ),
    "a layer that is misspelt": (
        ["solve", "table.json", *BUDGET, "--pin", "aa=w8"],
        2,
        "unknown layer 'aa': did you mean 'a'? known are: a, b",
    ),
    "a format by the name that others give it": (
        ["measure", *NETWORK, "--formats", "int4,int8", "-o", "t.json"],
        2,
        "unknown format 'int4': did you mean 'w4'? known are: w1, w2, w3, w4,",
    ),
    "a target that cannot store a format": (
        ["solve", "table.json", *BUDGET, "--pin", "a=w2", "--target", "onnxruntime"],
        2,
        "w2",
    ),
    "a file that is not there": (
        ["measure", "net.py:model", "--data", "image.npz", "-o", "t.json"],
        2,
        "cannot read the data 'image.npz': No such file or directory: 'image.npz'; did you mean 'images.npz'?",
    ),
    "a module without its function": (
        ["measure", "net.py", "--data", "net.py:images", "-o", "t.json"],
        2,
        "model 'net.py' names no function: write net.py:model or net.py:images or net.py:wide",
    ),
    "a file of weights for a network": (
        ["measure", "weights.pt", "--data", "net.py:images", "-o", "t.json"],
        2,
        "model 'weights.pt' is a file of weights: write a function in a file of your own that makes the network, loads "
        "them with load_state_dict and returns it, and name that, as in net.py:function",
    ),
    "data of another shape": (
        ["measure", "net.py:model", "--data", "net.py:wide", "-o", "t.json"],
        2,
        "give batches of the shape and type that it takes",
    ),
    "data without labels": (
        ["measure", *NETWORK, "--method", "empirical_fisher", "-o", "t.json"],
        2,
        "batch 0 has no targets, and --method empirical_fisher needs them: give pairs (inputs, targets), or use "
        "--method gauss_newton, which needs none",
    ),
    "a policy for a table": (
        ["solve", "policy.json", *BUDGET],
        2,
        "'policy.json' has the schema 'mckp-quant/policy/1': expected a table ('mckp-quant/table/1'), as 'mckp-quant "
        "measure MODEL --data ... -o FILE' writes it",
    ),
    "the policy of another network": (
        ["validate", "policy.json", "--model", *NETWORK],
        2,
        "unknown layer 'a': known are: 0, 1; a policy or table of another network does not fit: measure this one, and "
        "solve again",
    ),
    "an output that is a folder": (
        ["solve", "table.json", *BUDGET, "-o", "results"],
        2,
        f"-o 'results' is a folder: name a file, such as {os.path.join('results', 'result')!r}",
    ),
    "a key of a recipe above its section": (
        ["run", "recipe.toml"],
        2,
        "unknown key of the recipe 'recipe.toml' 'model': write 'model' below [network], where it belongs",
    ),
}


@pytest.mark.parametrize("mistake", FIFTEEN)
def test_the_fifteen_mistakes_are_answered_by_what_to_type(
    mistake: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    (here / "recipe.toml").write_text('model = "net.py:model"\n')
    arguments, code, words = FIFTEEN[mistake]
    assert main(arguments) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = [line for line in captured.err.splitlines() if line.startswith("mckp-quant: ")]
    assert words in line


def test_they_are_fifteen() -> None:
    assert len(FIFTEEN) == 15


def test_without_torch_it_says_what_to_install(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    assert main(["measure", *NETWORK, "-o", "t.json"]) == 2
    assert "pip install 'mckp-quant[torch]' -- solve and compare work on a table without it" in capsys.readouterr().err
