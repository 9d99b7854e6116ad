"""The commands of recipes, as a person calls them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import mckp_quant as mq
from mckp_quant.cli import main
from mckp_quant.export import available

from ...pipeline.small_runs import contents

ROOT = Path(mq.__file__).parents[1]
NET = """
import torch

def model():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 8), torch.nn.ReLU(),
                              torch.nn.Linear(8, 3)).eval()
    with torch.no_grad():
        net[4].weight.mul_(4)
    return net
"""
# The process ends without a word where the first network is about to be finished.
KILLED = """
import os, signal
from mckp_quant.cli import main
from mckp_quant.pipeline.steps import finishing

finishing.finish = lambda *args, **kwargs: os.kill(os.getpid(), signal.SIGKILL)
main()
"""
DATA = ["--data", "data.npz", "--batch-size", "16"]
RECIPE = ["recipe", "net.py:model", *DATA, "--budget", "bits_per_weight=9", "--formats", "w2,w4,w8"]
STEPS = ["round", "measure", "allocate", "confirm", "finish", "validate", "report"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    pytest.importorskip("safetensors")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NET)
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(96, 6)).astype(np.float32)
    np.savez(tmp_path / "data.npz", inputs=inputs, targets=(inputs.sum(axis=1) > 0).astype(np.int64))
    return tmp_path


def written(*more: str) -> None:
    assert main([*RECIPE, "--rounder", "nearest", "--evaluations", "0", *more]) == 0


def test_a_recipe_is_written_and_run_and_run_again(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written()
    assert "wrote recipe.toml: run it with mckp-quant run recipe.toml" in capsys.readouterr().err
    assert main(["run", "recipe.toml"]) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert [line.split()[0] for line in lines[: len(STEPS)]] == STEPS
    assert all(line.endswith(" s]") for line in lines[: len(STEPS)])
    assert captured.err.splitlines()[-1] == "wrote recipe-output"
    folder = here / "recipe-output"
    assert set(os.listdir(folder)) == {*STEPS, "recipe.toml", "provenance.json"}
    assert (folder / "report" / "report.txt").read_text() in captured.out
    before = contents(folder)
    assert main(["run", "recipe.toml"]) == 0
    again = capsys.readouterr().out.splitlines()
    assert all("[there already, " in line for line in again[: len(STEPS)])
    assert again[len(STEPS) :] == lines[len(STEPS) :]
    assert contents(folder) == before


@pytest.mark.parametrize(
    ("model", "data", "words"),
    [
        ("net.py:modle", "data.npz", "unknown function in 'net.py' 'modle': did you mean 'model'?"),
        ("nte.py:model", "data.npz", "model file 'nte.py' does not exist"),
        ("net.py", "data.npz", "model 'net.py' names no function: write net.py:model"),
        (
            "onnx:net.onnx",
            "data.npz",
            "go step by step, with mckp-quant measure onnx:net.onnx --data ... -o",
        ),
        ("net.py:model", "net.py:dta", "unknown function in 'net.py' 'dta': known are: model"),
    ],
)
def test_a_recipe_of_what_is_not_there_is_not_written(
    model: str, data: str, words: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["recipe", model, "--data", data, "--budget", "bits_per_weight=9"]) == 2
    assert words in capsys.readouterr().err
    assert not (here / "recipe.toml").exists()


def test_a_target_that_takes_no_layer_is_refused_before_anything_is_rounded(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "net.py").write_text("import torch\n\ndef model():\n    return torch.nn.Conv1d(6, 2, 1)\n")
    assert main([*RECIPE, "--target", "vllm"]) == 0
    assert main(["run", "recipe.toml"]) == 2
    assert (
        "the target 'vllm' takes none of the network's layers: they are conv1d, and it quantises linear, experts; "
        "name another target, such as onnxruntime, "
    ) in capsys.readouterr().err
    assert not (here / "recipe-output" / "round").exists()


def test_the_recipe_in_the_folder_repeats_it_bit_for_bit(here: Path) -> None:
    written("--to", "json")
    assert main(["run", "recipe.toml", "-o", "deep/one"]) == 0
    assert main(["run", "deep/one/recipe.toml", "-o", "two"]) == 0
    one, two = contents(here / "deep" / "one"), contents(here / "two")
    names = {name for name in one if one[name] != two.get(name)} | set(two) - set(one)
    assert names == {"recipe.toml"}  # which names its files from where it lies
    assert str(here) not in "".join(path.read_text("latin-1") for path in here.rglob("*") if path.is_file())
    assert mq.Recipe.load("deep/one/recipe.toml") == mq.Recipe.load("recipe.toml")


def test_a_recipe_in_the_folder_of_its_run_stays_as_it_is(here: Path) -> None:
    written()
    text = f"# my own words\n{(here / 'recipe.toml').read_text()}"
    (here / "recipe.toml").write_text(text)
    assert main(["run", "recipe.toml", "-o", "."]) == 0
    assert (here / "recipe.toml").read_text() == text
    assert (here / "report" / "report.txt").exists()


def test_another_budget_makes_only_what_depends_on_it(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written()
    assert main(["run", "recipe.toml", "-o", "out"]) == 0
    written("--force", "--budget", "weight_bytes=240")
    capsys.readouterr()
    assert main(["run", "recipe.toml", "-o", "out"]) == 0
    lines = capsys.readouterr().out.splitlines()[: len(STEPS)]
    assert ["there already" in line for line in lines] == [True, True, *[False] * 5]
    assert lines[2].endswith("(made again: request.budgets.weight_bytes was None, and is 240)")
    assert lines[3].endswith("(made again: a step before it differs)")


def test_another_network_in_the_same_folder_is_refused_until_forced(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written()
    assert main(["run", "recipe.toml"]) == 0
    (here / "other.py").write_text(NET.replace("mul_(4)", "mul_(3)"))
    text = (here / "recipe.toml").read_text().replace("net.py", "other.py")
    (here / "recipe.toml").write_text(text)
    capsys.readouterr()
    assert main(["run", "recipe.toml"]) == 2
    err = capsys.readouterr().err
    assert "the folder 'recipe-output' holds the results of another run: the network's '4.weight' differs" in err
    assert "--force" in err
    assert main(["run", "recipe.toml", "--force"]) == 0


def test_results_for_programs_are_one_document(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written()
    capsys.readouterr()
    assert main(["run", "recipe.toml", "--json"]) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert found["schema"] == "mckp-quant/run/1"
    assert found["chosen"] in ("mixed", "uniform")
    assert [each["step"] for each in found["provenance"]["steps"]] == STEPS
    assert [line.split()[0] for line in captured.err.splitlines() if line.split()[0] in STEPS] == STEPS


def test_a_useless_network_is_an_error_code(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*RECIPE[:-1], "w1", "--rounder", "nearest", "--evaluations", "0"]) == 0
    text = (here / "net.py").read_text().replace("mul_(4)", "mul_(400)")
    (here / "net.py").write_text(text)
    assert main(["run", "recipe.toml"]) == 1
    assert "the network under this policy is useless" in capsys.readouterr().out
    assert main(["run", "recipe.toml"]) == 1  # the second time, when all is there, too


@pytest.mark.slow
def test_a_process_that_is_killed_goes_on_where_it_was(here: Path) -> None:
    written("--evaluations", "6")
    assert main(["run", "recipe.toml", "-o", "whole"]) == 0
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", KILLED, "run", "recipe.toml", "-o", "killed"]
    assert subprocess.run(command, env=environment, check=False, timeout=300).returncode == -signal.SIGKILL
    assert not (here / "killed" / "finish" / "mixed").exists()
    assert main(["run", "recipe.toml", "-o", "killed"]) == 0
    assert contents(here / "killed") == contents(here / "whole")


def test_what_is_wrong_is_said_in_a_line(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written()
    capsys.readouterr()
    for arguments, words in (
        ([*RECIPE], "-o 'recipe.toml' exists already: name another file, or replace it with --force"),
        (["recipe", "hf:model", "--budget", "bops=1", "-o", "n.toml"], "Missing option '--data' (or '--calibration')"),
        ([*RECIPE, "-o", "n.toml", "--to", "torcho"], "unknown export target 'torcho': did you mean 'torchao'"),
        ([*RECIPE, "-o", "n.toml", "--held-out", "1.5"], "held_out.share is 1.5: it must be a number between 0 and 1"),
        (
            ["run", "missing.toml"],
            "there is no recipe 'missing.toml': name one that is there, or write it with: mckp-quant recipe",
        ),
    ):
        assert main(arguments) == 2
        err = capsys.readouterr().err
        assert words in err
        assert err.count("\n") == 1
    assert not (here / "n.toml").exists()


def test_targets_that_cannot_be_exported_to_are_refused_before_anything_runs(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from mckp_quant.pipeline.steps import exporting

    monkeypatch.setattr(exporting, "available", lambda: {"torchao": None, "gguf": "the package 'gguf' is missing"})
    written("--to", "torchao")
    assert mq.Recipe.load("recipe.toml").request.target == "torchao"
    text = (here / "recipe.toml").read_text()
    for change, words in (
        (('target = "torchao"', ""), "cannot export to 'torchao': the request names no target"),
        (('to = ["torchao"]', 'to = ["gguf"]'), "cannot export to 'gguf': the package 'gguf' is missing"),
    ):
        assert change[0] in text
        (here / "recipe.toml").write_text(text.replace(*change))
        capsys.readouterr()
        assert main(["run", "recipe.toml"]) == 2
        assert words in capsys.readouterr().err
    assert not (here / "recipe-output" / "round").exists()


def test_data_of_its_own_judges_and_sets_are_weighed(here: Path) -> None:
    written("--held-out", "data.npz", "--seed", "3", "--max-batches", "4")
    found = mq.Recipe.load("recipe.toml")
    assert found.held_out == mq.pipeline.DataEntry("data.npz", batch_size=16)
    assert (found.seed, found.max_batches) == (3, 4)
    text = (here / "recipe.toml").read_text()
    (here / "recipe.toml").write_text(f"{text}\n[data.again]\nbatches = 'data.npz'\nbatch_size = 8\nweight = 0.5\n")
    assert main(["run", "recipe.toml"]) == 0
    data = json.loads((here / "recipe-output" / "provenance.json").read_text())["data"]
    assert {name: (each["samples"], each["weight"]) for name, each in data["calibration"].items()} == {
        "calibration": (64, 1.0),
        "again": (32, 0.5),
    }
    assert data["held_out"]["samples"] == 64


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ([], "file_bytes is the size of the file that a target writes: say which, with --target, such as"),
        (
            ["--target", "gguf"],
            "a run does not learn the size of files of target 'gguf', which takes a float .gguf file",
        ),
    ],
)
def test_a_size_that_a_run_cannot_know_is_refused_before_anything_is_rounded(
    target: list[str], words: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["recipe", "net.py:model", *DATA, "--budget", "file_bytes=9kB", "--formats", "w4,w8", *target]
    assert main([*asked, "--rounder", "nearest"]) == 0
    assert main(["run", "recipe.toml"]) == 2
    assert words in capsys.readouterr().err
    assert not (here / "recipe-output" / "round").exists()


WIDE = """
import torch

def model():
    torch.manual_seed(0)
    sizes = [(64, 32), (32, 32), (32, 3)]
    layers = [each for size in sizes for each in (torch.nn.Linear(*size, bias=False), torch.nn.ReLU())]
    return torch.nn.Sequential(*layers[:-1]).eval()
"""


@pytest.mark.parametrize(
    ("target", "to", "formats", "file"),
    [
        ("gguf", "gguf_tensors", "w4g32,w8g32,q4_1", "model.gguf"),
        pytest.param("onnxruntime", "onnxruntime", "w4,w8", "model.onnx", marks=pytest.mark.slow),
    ],
)
def test_a_run_learns_what_a_file_takes_by_writing_it(
    target: str, to: str, formats: str, file: str, here: Path
) -> None:
    if available()[to]:
        pytest.skip(str(available()[to]))
    (here / "wide.py").write_text(WIDE)
    inputs = np.random.default_rng(0).normal(size=(96, 64)).astype(np.float32)
    np.savez(here / "data.npz", inputs=inputs, targets=(inputs[:, :3].argmax(axis=1)).astype(np.int64))
    asked = ["recipe", "wide.py:model", *DATA, "--budget", "file_bytes=45%", "--formats", formats, "--target", target]
    assert main([*asked, "--rounder", "nearest", "--evaluations", "0", "--to", to]) == 0
    assert main(["run", "recipe.toml"]) == 0
    steps = here / "recipe-output"
    (budget,) = json.loads((steps / "allocate" / "policy.json").read_text())["budgets"]
    size = (steps / "export" / to / file).stat().st_size
    assert 0.6 * budget["limit"] < size <= budget["limit"]
    decided = {name: json.loads((steps / name / "step.json").read_text())["decided"] for name in ("measure", "export")}
    assert f"the file of {target} takes up to" in decided["measure"]
    assert f", {size:,} on disk of {budget['limit']:,} allowed" in decided["export"]


HEADS = """
import torch
from mckp_quant import Outputs

class Two(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.classes, self.boxes = (torch.nn.Linear(6, size) for size in (6, 3, 2))

    def forward(self, inputs):
        hidden = self.body(inputs).tanh()
        return {"classes": self.classes(hidden), "boxes": self.boxes(hidden)}

def model():
    torch.manual_seed(0)
    return Two().eval()

def outputs():
    return Outputs(heads=(Outputs(name="classes"), Outputs(name="boxes", likelihood="gaussian", weight=0.5)))

def data():
    torch.manual_seed(1)
    return [(torch.randn(16, 6), (torch.zeros(16, dtype=torch.long), torch.zeros(16, 2))) for _ in range(5)]
"""


def test_a_network_of_several_heads_runs_by_its_heads_or_by_a_function(here: Path) -> None:
    (here / "heads.py").write_text(HEADS)
    made = []
    for name, options in (
        ("listed", ["--head", "classes=categorical", "--head", "boxes=gaussian,weight=0.5"]),
        ("called", ["--outputs", "heads.py:outputs"]),
    ):
        asked = ["recipe", "heads.py:model", "--data", "heads.py:data", "--budget", "bits_per_weight=12"]
        settings = ["--formats", "w2,w4,w8", "--rounder", "nearest", "--evaluations", "0"]
        assert main([*asked, *settings, *options, "-o", f"{name}.toml"]) == 0
        assert main(["run", f"{name}.toml", "-o", name]) == 0
        again = mq.Recipe.load(here / name / "recipe.toml")
        assert list(again.heads) == (options[1::2] if name == "listed" else [])
        assert again.outputs == (None if name == "listed" else "heads.py:outputs")
        made.append(mq.SensitivityTable.load(here / name / "measure" / "table.json"))
    assert np.array_equal(made[0].loss, made[1].loss)
    assert len(made[0].layers) == 3


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("run", "recipe"):
        assert main([command, "--help"]) == 0
        assert f"  mckp-quant {command} " in capsys.readouterr().out.partition("Examples:")[2]
