"""From a network to a finished artefact, by commands alone."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import numpy as np
import pytest

import mckp_quant as mq
from mckp_quant.cli import main
from mckp_quant.cli.load import load_model
from mckp_quant.export import read_policy
from mckp_quant.tuning import Finished

if TYPE_CHECKING:
    from pathlib import Path

NET = """
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = torch.nn.Conv2d(1, 6, 3, bias=False), torch.nn.BatchNorm2d(6)
        self.middle, self.last = torch.nn.Linear(96, 16), torch.nn.Linear(16, 4)

    def forward(self, x):
        return self.last(torch.relu(self.middle(torch.relu(self.norm(self.conv(x))).flatten(1))))

def model():
    torch.manual_seed(0)
    return Net().eval()
"""
MODEL, DATA = "net.py:model", ["--data", "data.npz", "--batch-size", "16"]
HELD_OUT = ["--data", "held_out.npz", "--batch-size", "16"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    pytest.importorskip("safetensors")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NET)
    rng = np.random.default_rng(0)
    for name, count in (("data", 96), ("held_out", 64)):
        np.savez(tmp_path / f"{name}.npz", inputs=rng.normal(size=(count, 1, 6, 6)).astype(np.float32))
    return tmp_path


def made(here: Path) -> None:
    """Everything up to the finished network."""
    assert main(["round", MODEL, *DATA, "--max-batches", "3", "--formats", "w2,w3,w4,w8", "-o", "bank"]) == 0
    assert main(["measure", MODEL, *HELD_OUT, "--bank", "bank", "--formats", "auto", "-o", "table.json"]) == 0
    assert main(["solve", "table.json", "--budget", "bits_per_weight=3.6", "-o", "policy.json"]) == 0
    assert main(["finish", MODEL, "policy.json", *DATA, "--bank", "bank", "-o", "finished"]) == 0
    assert os.listdir(here / "finished")


def test_a_network_goes_the_whole_way(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made(here)
    network, policy = load_model(MODEL), mq.Policy.load("policy.json")
    bank, done = mq.WeightBank.load("bank"), Finished.load("finished", network)
    assert policy.rounder == bank.rounder
    assert done.policy == policy
    capsys.readouterr()
    judged = ["validate", "policy.json", "--model", MODEL, *HELD_OUT, "--bank", "bank", "--json"]
    main(judged)
    plain = json.loads(capsys.readouterr().out)["rows"]
    main([*judged, "--finished", "finished"])
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["name"] for row in rows] == [
        "float",
        f"{plain[1]['name']}, not finished",
        "policy, not finished",
        "policy, finished",
    ]
    assert rows[1]["name"].endswith("same rounder, not finished")
    assert [row["kl"] for row in rows[:3]] == [row["kl"] for row in plain]
    with np.load("held_out.npz") as data:
        inputs = [data["inputs"][at : at + 16] for at in range(0, 64, 16)]
    torch = pytest.importorskip("torch")
    batches = [torch.from_numpy(each) for each in inputs]
    assert rows[3]["kl"] == pytest.approx(mq.evaluate(done.model, network, batches).kl)
    command = ["export", "policy.json", "--to", "json", "--model", MODEL, "--finished", "finished", "-o", "out"]
    assert main(command) == 0
    assert read_policy(here / "out") == policy
    # What was finished is an input of the export, as a policy is.
    assert main(["finish", MODEL, "policy.json", *DATA, "--rounder", "nearest", "-o", "finished", "--force"]) == 0
    assert main(command) == 2
    assert "made from other inputs" in capsys.readouterr().err


def test_what_does_not_go_with_a_finished_network_is_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made(here)
    (here / "none").mkdir()
    mq.Policy.uniform(mq.SensitivityTable.load("table.json"), "w3").save("other.json")
    export, model = ["export", "policy.json", "--to", "json", "-o", "out"], ["--model", MODEL]
    validate = ["validate", "policy.json", *model, *HELD_OUT]
    finished = ["--finished", "finished"]
    for command, words in (
        ([*export, *model, *finished, "--bank", "bank"], "--finished 'finished' and --bank 'bank' are both given"),
        ([*export, *finished], "holds what finish changed: name the float network, --model"),
        ([*export, *finished, "--model", "a.gguf"], "--model 'a.gguf' is a file, in which norms and biases"),
        ([*export, *model, "--finished", "none"], "none/finished.json"),
        ([*validate, *finished, "--table", "table.json"], "--finished and --table are both given"),
        (["validate", "other.json", *model, *HELD_OUT, *finished], "'finished' was made for another policy"),
        (["finish", MODEL, "policy.json", *DATA, "--bank", "none", "-o", "new"], "none"),
    ):
        capsys.readouterr()
        assert main(command) == 2, command
        assert words in capsys.readouterr().err
    assert not (here / "out").exists()
    assert not (here / "new").exists()
