from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from mckp_quant import Policy, SensitivityTable, allocate, write_table
from mckp_quant.cli import main

if TYPE_CHECKING:
    from pathlib import Path

NET = """
import torch

def model():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(6, 24), torch.nn.Tanh(), torch.nn.Linear(24, 8), torch.nn.Linear(8, 3))
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a network, data, and a table measured from both."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NET)
    generator = torch.Generator().manual_seed(0)
    np.savez(tmp_path / "data.npz", inputs=torch.randn(80, 6, generator=generator).numpy())
    measured = ["measure", "net.py:model", "--data", "data.npz", "--formats", "w2,w3,w4,w8", "-o", "table.json"]
    assert main([*measured, "--batch-size", "8"]) == 0
    return tmp_path


def test_stability_says_how_sure_and_writes_the_robust_policy(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    arguments = ["stability", "table.json", "--budget", "weight_bytes=50%", "--draws", "40", "--pin", "3=w8"]
    assert main([*arguments, "-o", "robust.json"]) == 0
    text = capsys.readouterr().out
    assert "40 draws of the table's batches" in text
    assert "the policy is the best one" in text
    robust = Policy.load(here / "robust.json")
    assert robust["3"].name == "w8"
    assert main([*arguments, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "mckp-quant/stability/1"
    assert document["robust"]["formats"] == {layer: robust[layer].name for layer in robust.layer_names}
    assert [entry["layer"] for entry in document["layers"]] == ["0", "2", "3"]
    assert document["layers"][2]["kept"] == 1


def test_tables_of_every_kind_of_file_are_read(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_table(SensitivityTable.load(here / "table.json"), here / "table.npz")
    said = []
    for file in ("table.json", "table.npz"):
        capsys.readouterr()
        arguments = ["--budget", "weight_bytes=50%", "--draws", "10", "--on", "non_monotone=keep"]
        assert main(["stability", file, *arguments]) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]


def test_doubts_about_a_table_are_listed(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = json.loads((here / "table.json").read_text())
    document["loss"][1][3] = -1.0
    (here / "odd.json").write_text(json.dumps(document))
    capsys.readouterr()
    assert main(["stability", "odd.json", "--budget", "weight_bytes=50%", "--draws", "10"]) == 0
    assert "layer '2', format 'w8': the loss is -1, below zero" in capsys.readouterr().out


@pytest.mark.parametrize("extra", [[], ["--interactions"]])
def test_refine_writes_a_policy_within_the_budget(
    here: Path, capsys: pytest.CaptureFixture[str], extra: list[str]
) -> None:
    capsys.readouterr()
    arguments = ["refine", "table.json", "--budget", "weight_bytes=50%", "--model", "net.py:model"]
    arguments += [
        "--data",
        "data.npz",
        "--evaluations",
        "12",
        "--batch-size",
        "8",
        "-o",
        "better.json",
        "--force",
        *extra,
    ]
    assert main(arguments) == 0
    text = capsys.readouterr().out
    assert "stopped: " in text
    table, policy = SensitivityTable.load(here / "table.json"), Policy.load(here / "better.json")
    limit = allocate(table, {"weight_bytes": "50%"}).problem.budget[0]
    assert policy.costs["weight_bytes"] <= limit
    assert main([*arguments, "--json", "--checkpoint", "kept.json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "mckp-quant/refinement/1"
    assert document["kl"] <= document["start_kl"]
    assert (here / "kept.json").exists()


def test_confirm_writes_the_table_and_its_policy(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    arguments = ["confirm", "table.json", "--budget", "weight_bytes=50%", "--model", "net.py:model"]
    arguments += ["--data", "data.npz", "--batch-size", "8", "--evaluations", "4", "-o", "sure.json"]
    assert main([*arguments, "--policy", "sure_policy.json"]) == 0
    text = capsys.readouterr().out
    assert "cells measured in" in text
    assert "stopped: " in text
    assert "corrected: measured as a whole on " in text
    table, policy = SensitivityTable.load(here / "sure.json"), Policy.load(here / "sure_policy.json")
    assert policy == allocate(table, {"weight_bytes": "50%"}).policy
    assert policy.correction.startswith("measured as a whole on")
    assert main([*arguments, "--json", "--force"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "mckp-quant/confirmation/1"
    assert document["evaluations"] <= 4
    before = SensitivityTable.load(here / "table.json")
    for each in document["replaced"]:
        cell = table.row(each["layer"]), table.column(each["format"])
        assert (before.loss[cell], table.loss[cell]) == (each["before"], each["loss"])
    (here / "mine.json").write_text("mine")
    assert main([*arguments[:-1], "other.json", "--policy", "mine.json"]) == 2
    assert "-o 'mine.json' exists already" in capsys.readouterr().err


def test_stability_and_refine_take_what_solve_takes(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = SensitivityTable.load(here / "table.json")
    names = ",".join(table.format_names)
    lines = [",".join([layer, *(str(1 + at) for at in range(len(table.formats)))]) for layer in table.layer_names]
    (here / "cost.csv").write_text("\n".join([f"layer,{names}", *lines]) + "\n", encoding="utf-8")
    asked = ["--budget", "weight_bytes=80%", "--budget", "latency=6", "--costs", "latency=cost.csv"]
    asked += ["--at-least", "weight_bytes=10%"]
    assert main(["stability", "table.json", "--draws", "10", *asked]) == 0
    running = ["--model", "net.py:model", "--data", "data.npz", "--batch-size", "8", "--evaluations", "inf"]
    assert main(["refine", "table.json", *asked, *running, "-o", "better.json"]) == 0
    capsys.readouterr()
    assert Policy.load(here / "better.json").costs["latency"] <= 6


def test_wrong_input_is_exit_code_2(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["stability", "table.json", "--budget", "weight_bytes=50%", "--rule", "wurst"]) == 2
    assert "unknown rule 'wurst'" in capsys.readouterr().err
    refine = ["refine", "table.json", "--budget", "weight_bytes=50%", "--model", "net.py:model", "-o", "x.json"]
    assert main([*refine, "--data", "data.npz", "--held-back", "2"]) == 2
    assert "--held-back is 2.0" in capsys.readouterr().err
    assert not (here / "x.json").exists()
    assert main(["stability", "table.json", "--budget", "weight_bytes=1"]) == 1


DENSE = """
import torch

def model():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Conv2d(3, 6, 3, padding=1), torch.nn.Tanh(), torch.nn.Conv2d(6, 4, 1))
"""


def test_dense_outputs_go_the_whole_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(DENSE)
    generator = torch.Generator().manual_seed(0)
    inputs, targets = (
        torch.randn(24, 3, 4, 4, generator=generator),
        torch.randint(0, 4, (24, 4, 4), generator=generator),
    )
    np.savez(tmp_path / "data.npz", inputs=inputs.numpy(), targets=targets.numpy())
    running = ["--data", "data.npz", "--batch-size", "6", "--class-dim", "1"]
    assert main(["measure", "net.py:model", *running, "--formats", "w2,w4,w8", "-o", "table.json"]) == 0
    asked = ["--budget", "weight_bytes=60%", "--evaluations", "15", "--interactions", "-o", "policy.json"]
    assert main(["refine", "table.json", *asked, "--model", "net.py:model", *running]) == 0
    capsys.readouterr()
    assert main(["validate", "policy.json", "--model", "net.py:model", *running, "--json"]) == 0
    row = json.loads(capsys.readouterr().out)["rows"][-1]
    assert row["kl"] > 0
    assert 0 < row["accuracy"] < 1


def test_finish_writes_what_the_library_makes(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("safetensors")
    from mckp_quant.cli.load import load_model
    from mckp_quant.tuning import Finished, finish

    table = SensitivityTable.load(here / "table.json")
    Policy.uniform(table, "w3").save(here / "policy.json")
    arguments = ["finish", "net.py:model", "policy.json", "--data", "data.npz", "--batch-size", "8", "-o", "finished"]
    capsys.readouterr()
    assert main(arguments) == 0
    said = capsys.readouterr().out
    network = load_model("net.py:model")
    with np.load(here / "data.npz") as data:
        batches = list(torch.from_numpy(data["inputs"]).split(8))
    wanted = finish(network, Policy.load(here / "policy.json"), batches)
    for line in wanted.decided.words:
        assert line.split(" (")[0] in " ".join(said.split())
    read = Finished.load(here / "finished", network)
    assert read.decided == wanted.decided
    assert main([*arguments, "--json"]) == 0  # made from the same inputs, so it may be replaced
    assert json.loads(capsys.readouterr().out)["decided"]["codes"] == wanted.decided.codes
    assert main([*arguments, "--steps", "2"]) == 2
    assert "made from other inputs" in capsys.readouterr().err
    assert main([*arguments, "--steps", "2", "--force"]) == 0
