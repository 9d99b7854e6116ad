from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from mckp_quant import Policy, SensitivityTable, apply, round_weights
from mckp_quant.cli import main
from mckp_quant.cli.load import load_model
from mckp_quant.formats import menu
from mckp_quant.rounding import WeightBank

if TYPE_CHECKING:
    from pathlib import Path

NET = """
import torch

def model():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))

def bare():
    return torch.nn.ReLU()

def nothing():
    return []

def narrow():
    return [torch.zeros(4, 5)]
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NET)
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "data.npz", inputs=rng.normal(size=(64, 6)), targets=rng.integers(0, 3, 64))
    return tmp_path


def measured(*more: str) -> SensitivityTable:
    assert (
        main(
            ["measure", "net.py:model", "--data", "data.npz", "--formats", "w2,w4,w8", "-o", "t.json", "--force", *more]
        )
        == 0
    )
    return SensitivityTable.load("t.json")


def test_measure_writes_the_table_and_prints_it(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = measured("--batch-size", "16", "--seed", "3")
    captured = capsys.readouterr()
    said = "to run on 4 batches: what takes as long as some 4 forward passes of each\n"
    assert captured.err == f"{said}wrote t.json\n"
    assert (table.layer_names, table.format_names) == (("0", "2"), ("w2", "w4", "w8"))
    assert (table.method, table.samples, table.seed) == ("gauss_newton", 64, 3)
    assert table.contributions is not None
    assert len(table.contributions) == 4
    assert "by gauss_newton on 64 samples, seed 3" in captured.out
    assert [line.split()[0] for line in captured.out.splitlines()[-2:]] == ["0", "2"]


def test_json_of_measure_is_the_file_it_writes(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    measured("--json", "--method", "hutchinson", "--layers", "2")
    assert capsys.readouterr().out == (here / "t.json").read_text()


def test_policy_of_a_measured_table_validates(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    measured()
    assert main(["solve", "t.json", "--budget", "weight_bytes=80%", "-o", "p.json"]) == 0
    capsys.readouterr()
    arguments = ["validate", "p.json", "--model", "net.py:model", "--data", "data.npz", "--table", "t.json", "--json"]
    code = main(arguments)
    document = json.loads(capsys.readouterr().out)
    assert code == (1 if document["holds"] is False else 0)
    assert [row["name"] for row in document["rows"]] == ["float", "uniform w2", "uniform w4", "uniform w8", "policy"]
    policy = Policy.load("p.json")
    assert document["rows"][-1]["weight_bytes"] == policy.costs["weight_bytes"]
    assert document["rows"][-1]["kl"] == pytest.approx(kl_by_hand(policy), rel=1e-4)


def kl_by_hand(policy: Policy) -> float:
    """Mean KL from the float network to the quantised one on the data of this module."""
    net = load_model("net.py:model")
    with np.load("data.npz") as file:
        inputs = torch.from_numpy(file["inputs"].astype(np.float32))
    with torch.no_grad():
        own = net(inputs).double().log_softmax(dim=1)
        other = apply(net, policy)(inputs).double().log_softmax(dim=1)
    return float((own.exp() * (own - other)).sum(dim=1).mean())


def test_prediction_that_does_not_hold_is_exit_code_1(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = measured()
    uniform = Policy.uniform(table, "w2")
    for factor, code in ((1e-6, 1), (1.0, None)):
        policy = Policy(uniform.layer_names, uniform.formats, predicted=uniform.predicted * factor, layer_bits=())
        policy.save("p.json")
        capsys.readouterr()
        found = main(["validate", "p.json", "--model", "net.py:model", "--data", "data.npz"])
        captured = capsys.readouterr()
        assert "measured KL" in captured.out
        if code is not None:
            assert found == code
            assert "the prediction fails, off by" in captured.out
            assert captured.err.startswith("to run on 2 batches: a pass of the float network")
            assert len(captured.err.splitlines()) == 1


def test_uniform_policies_that_the_table_forbids_are_left_out(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = measured()
    loss = table.loss.copy()
    loss[0, 0] = np.nan
    SensitivityTable(table.layers, table.formats, loss, table.stderr).save("t.json")
    Policy.uniform(table, "w8").save("p.json")
    capsys.readouterr()
    main(["validate", "p.json", "--model", "net.py:model", "--data", "data.npz", "--table", "t.json"])
    captured = capsys.readouterr()
    assert "uniform w2 is left out: the table does not allow format 'w2' for layer '0'" in captured.err
    assert "uniform w4" in captured.out
    assert "uniform w2" not in captured.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["measure", "net.py:model", "--data", "data.npz"], "Missing option '--output'"),
        (["measure", "net.py:model", "--data", "data.npz", "-o", "t.json", "--formats", "w2,w44"], "did you mean 'w4'"),
        (
            ["measure", "net.py:model", "--data", "data.npz", "-o", "t.json", "--method", "magic"],
            "unknown method 'magic'",
        ),
        (["measure", "net.py:model", "--data", "data.npz", "-o", "t.json", "--layers", "7"], "unknown layer '7'"),
        (["measure", "net.py:model", "--data", "data.npz", "-o", "t.json", "--probes", "0"], "probes is 0"),
        (
            ["measure", "net.py:model", "--data", "data.npz", "-o", "t.json", "--likelihood", "x"],
            "unknown likelihood 'x'",
        ),
        (["measure", "net.py:bare", "--data", "data.npz", "-o", "t.json"], "nothing to quantise"),
        (["measure", "net.py:model", "--data", "net.py:nothing", "-o", "t.json"], "there are zero batches"),
        (["measure", "net.py:model", "--data", "net.py:narrow", "-o", "t.json"], "the model fails on batch 0"),
        (["measure", "net.py:modle", "--data", "data.npz", "-o", "t.json"], "did you mean 'model'"),
        (
            ["measure", "net.py:model", "--data", "nothing.npz", "-o", "t.json"],
            "cannot read the data 'nothing.npz': No such file",
        ),
        (["validate", "nothing.json", "--model", "net.py:model", "--data", "data.npz"], "cannot read the policy"),
        (["demo", "-o", "net.py"], "is no folder that can be written to"),
    ],
)
def test_wrong_input_is_exit_code_2_one_line_and_no_file(
    arguments: list[str], words: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(entry.name for entry in here.iterdir())
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    *said, line = captured.err.splitlines()
    assert words in line
    assert all(each.startswith("to run on ") for each in said)  # what is wrong may show only when it runs
    assert len(said) <= 1
    assert sorted(entry.name for entry in here.iterdir() if entry.name != "__pycache__") == before


@pytest.mark.slow
def test_demo_beats_uniform_precision_and_writes_what_it_says(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--output", "demo", "--json"]) == 0
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    for level in document["levels"]:
        for pair, end in (("nearest", ""), ("rounded", "-gptq")):
            table = SensitivityTable.load(f"demo/table{end}.json")
            _, uniform, mixed = level[pair]["validation"]["rows"]
            policy = Policy.load(f"demo/policy-{uniform['name'].split()[1]}-bytes{end}.json")
            bytes_ = level["weight_bytes"]
            assert mixed["weight_bytes"] == policy.costs["weight_bytes"] <= uniform["weight_bytes"] == bytes_
            assert mixed["kl"] < uniform["kl"]
            assert policy.predicted <= level[pair]["uniform"]["predicted"]
            assert policy.bound <= policy.predicted
            assert policy.status == "proved optimal"
            assert (policy.table, policy.rounder) == (table.digest, table.rounder)
        nearest, rounded = (level[pair]["validation"]["rows"] for pair in ("nearest", "rounded"))
        assert rounded[1]["kl"] < nearest[1]["kl"]
        assert rounded[2]["kl"] < nearest[2]["kl"]
    (finished,) = [level for level in document["levels"] if level["finished"]]
    before = finished["rounded"]["validation"]["rows"]
    assert finished["finished"]["mixed"]["kl"] < min(finished["finished"]["uniform"]["kl"], before[2]["kl"])
    report = (here / "demo" / "report.txt").read_text()
    assert "uniform against mixed precision at equal bytes" in report
    assert "by gauss_newton on 400 samples" in report
    assert "weights rounded by gptq(" in report
    assert "here allocation adds nothing to uniform with the same rounder that 400 samples can show" in report
    assert "the demo network" in (here / "demo" / "report.html").read_text(encoding="utf-8")
    written = sorted(path.relative_to(here) for path in (here / "demo").iterdir())
    assert sorted(captured.err.split("wrote ")[1:]) == [f"{path}\n" for path in written]


def test_numbers_that_are_not_there_are_dashes(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez("data.npz", inputs=np.ones((4, 6)))
    Policy(("0",), (Policy.uniform(measured(), "w2").formats[0],)).save("p.json")
    capsys.readouterr()
    assert main(["validate", "p.json", "--model", "net.py:model", "--data", "data.npz"]) == 0
    last = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("policy"))
    assert last.split()[-1] == "-"


def test_measure_takes_a_rounder_a_bank_or_the_menu(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    table = measured("--batch-size", "16", "--rounder", "gptq")
    assert table.rounder.startswith("gptq(")
    assert table.samples == 32
    model, inputs = load_model("net.py:model"), torch.from_numpy(np.load("data.npz")["inputs"]).float()
    bank = round_weights(model, [inputs[:8]], "w2,w4z", rounder="gptq")
    monkeypatch.setattr(WeightBank, "load", lambda folder: bank if str(folder) == "bank" else None, raising=False)
    table = measured("--bank", "bank", "--formats", "auto")
    assert table.format_names == ("w2", "w4z")
    assert table.rounder == bank.rounder
    assert measured("--formats", "auto", "--method", "sqnr").format_names == tuple(e.name for e in menu(bank.layers))
    capsys.readouterr()
    assert main(["measure", "net.py:model", "--data", "data.npz", "--dry-run", "--json", "--bank", "bank"]) == 0
    assert json.loads(capsys.readouterr().out)["seconds_to_round"] == 0
    assert main(["measure", "net.py:model", "--data", "data.npz", "-o", "x", "--bank", "b", "--rounder", "gptq"]) == 2
    assert "--rounder gptq and --bank 'b': the bank says what rounded it, give one" in capsys.readouterr().err
