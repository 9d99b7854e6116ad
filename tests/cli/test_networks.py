from __future__ import annotations

import json
import math
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

import mckp_quant as mq
from mckp_quant import SensitivityTable
from mckp_quant.cli import main
from mckp_quant.cli.networks import Source

from ..checkpoints import TEXT, checkpoint

if TYPE_CHECKING:
    from pathlib import Path

NET = """
import torch

def model():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))

def dense():
    torch.manual_seed(0)
    return torch.nn.Conv2d(2, 3, 1)

def images():
    return [torch.randn(2, 2, 3, 3, generator=torch.Generator().manual_seed(0))]

def endless():
    while True:
        yield torch.ones(4, 6)

def breaking():
    yield torch.ones(4, 6)
    raise ZeroDivisionError("no more")
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("hf"))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NET)
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "data.npz", inputs=rng.normal(size=(64, 6)), targets=rng.integers(0, 3, 64))
    return tmp_path


def run(*arguments: str) -> SensitivityTable:
    assert main(["measure", *arguments, "--formats", "w2,w4", "-o", "t.json", "--force"]) == 0
    return SensitivityTable.load("t.json")


@pytest.mark.slow
def test_a_local_checkpoint_is_measured_on_a_text_and_validated(
    folder: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = str(folder / TEXT)
    hf = ["--context", "8", "--calibration", text, "--dtype", "float32"]
    table = run(f"hf:{folder}", *hf, "--batch-size", "3", "--max-batches", "4", "--memory-limit", "200kB")
    assert table.samples == 12
    assert table.unit == "nats per token"
    assert "model.layers.0.self_attn.q_proj" in table.layer_names
    assert (table.loss > 0).all()
    targets = run(f"hf:{folder}", *hf, "--max-batches", "2", "--method", "empirical_fisher")
    assert (targets.loss >= 0).all()
    mq.Policy.uniform(table, "w4").save("p.json")
    capsys.readouterr()
    assert main(["validate", "p.json", "--model", f"hf:{folder}", *hf, "--json"]) in {0, 1}
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert rows[-1]["kl"] > 0


@pytest.mark.slow
def test_a_dry_run_of_a_billion_parameters_needs_no_weights_and_writes_nothing(
    folder: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = json.loads((folder / "config.json").read_text())
    config |= {"vocab_size": 32000, "hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 22}
    config |= {"num_attention_heads": 32, "num_key_value_heads": 4, "head_dim": 64, "max_position_embeddings": 2048}
    (here / "big").mkdir()
    (here / "big" / "config.json").write_text(json.dumps(config))
    before = sorted(here.iterdir())
    arguments = ["measure", "hf:big", "--formats", "w2,w4", "--dry-run", "--memory-limit", "2GB"]
    assert main([*arguments, "--max-batches", "8", "--dtype", "float32"]) == 0
    text = capsys.readouterr().out
    assert "1,100,048,384 parameters" in text
    assert "model.layers.21.mlp.down_proj" in text
    assert "least --memory-limit that works" in text
    assert sorted(here.iterdir()) == before


def test_a_plan_in_json_is_the_plan(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["measure", f"hf:{folder}", "--formats", "w2", "--dry-run", "--json", "--method", "measured_kl"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "mckp-quant/plan/1"
    assert len(document["layers"]) == 7 + 2
    assert (document["formats"], document["method"], document["batches"]) == (["w2"], "measured_kl", None)
    weights = sum(math.prod(layer["shape"]) for layer in document["layers"])
    assert document["errors"] == 4 * weights  # float32
    assert document["gradients"] == 2 * max(math.prod(layer["shape"]) for layer in document["layers"])  # bfloat16
    assert document["seconds"] is None


def test_options_reach_the_measurement(here: Path) -> None:
    table = run("net.py:model", "--data", "data.npz", "--max-batches", "3", "--batch-size", "8", "--dtype", "float64")
    assert table.samples == 24
    assert run("net.py:model", "--data", "data.npz", "--batch-size", "8", "--precision", "100").samples == 16
    dense = run("net.py:dense", "--data", "net.py:images", "--class-dim", "1", "--device", "cpu")
    assert dense.unit == "nats per token"
    assert run("net.py:model", "--data", "net.py:endless", "--max-batches", "2").samples == 8


def test_an_interrupted_measurement_goes_on_from_its_checkpoint(here: Path) -> None:
    arguments = ("net.py:model", "--data", "data.npz", "--batch-size", "16")
    whole = run(*arguments)
    kept = ("--checkpoint", "run.json", "--cache", "cache")
    run(*arguments, *kept, "--max-batches", "2")
    assert json.loads((here / "run.json").read_text())["samples"] == [16, 16]
    assert list((here / "cache").iterdir())
    np.testing.assert_array_equal(run(*arguments, *kept).loss, whole.loss)


def test_a_dry_run_of_a_function_counts_one_batch_of_its_data(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["measure", "net.py:model", "--data", "data.npz", "--formats", "w2", "--dry-run"]) == 0
    assert "activations and logits of a batch of 32" in capsys.readouterr().out
    assert not (here / "t.json").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["net.py:model"], "Missing option '--data'"),
        (["net.py:model", "--calibration", "x"], "--calibration needs the tokenizer of a checkpoint"),
        (["hf:x", "--calibration", "x", "--data", "y"], "--data and --calibration are both given"),
        (["hf:nowhere", "--calibration", "x"], "'nowhere' is no checkpoint"),
        (["net.py:model", "--data", "data.npz", "--dtype", "float31"], "did you mean 'float32'"),
        (["net.py:model", "--data", "data.npz", "--device", "nowhere"], "--device 'nowhere' is no device"),
        (["net.py:model", "--data", "data.npz", "--memory-limit", "1kX"], "memory_limit = '1kX'"),
        (["net.py:model", "--data", "net.py:breaking"], "failed: ZeroDivisionError: no more (net.py, line"),
        (["net.py:model", "--data", "data.npz", "--seed", "99999999999999999999"], "seed is 99999999999999999999"),
    ],
)
def test_wrong_input_is_exit_code_2_and_one_line(
    arguments: list[str], words: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["measure", *arguments, "-o", "t.json"]) == 2
    *before, line = capsys.readouterr().err.splitlines()
    assert words in line
    assert all(each.startswith("to run on ") for each in before)
    assert not (here / "t.json").exists()


def test_a_context_beyond_the_model_is_refused(folder: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["measure", f"hf:{folder}", "--calibration", str(folder / TEXT), "-o", "t.json"]
    assert main([*arguments, "--context", "25"]) == 2
    assert "--context is 25, but the model takes at most 24 tokens" in capsys.readouterr().err
    assert main(["measure", f"hf:{folder}", "-o", "t.json"]) == 2
    assert "Missing option '--calibration' (or '--data')" in capsys.readouterr().err


def test_without_transformers_a_checkpoint_is_refused_with_what_to_type(
    folder: Path, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    assert main(["measure", f"hf:{folder}", "--dry-run"]) == 2
    assert "pip install 'mckp-quant[hf]'" in capsys.readouterr().err


def test_the_type_of_the_weights_is_that_of_the_checkpoint_unless_named(folder: Path) -> None:
    assert {each.dtype for each in Source(f"hf:{folder}").network().parameters()} == {torch.bfloat16}
    assert {each.dtype for each in Source(f"hf:{folder}", dtype="float64").network().parameters()} == {torch.float64}
