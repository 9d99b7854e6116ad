"""Other tools beside ours: what is asked, what the judge refuses, what is kept, and what the page says."""

from __future__ import annotations

import copy
import importlib
import sys
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.command_line import WrongInput
from benchmarks.pages import append_rows, read_rows
from benchmarks.policies.rivals import environments, judging, page, tools
from benchmarks.policies.rivals.workers.job import Answer, Job, read_answer, write_job
from benchmarks.policies.rounding import Split
from mckp_quant.evaluation.evaluator import Evaluator

if TYPE_CHECKING:
    from pathlib import Path

command: Any = importlib.import_module("benchmarks.policies.rivals.__main__")
TOY = """
import sys
if sys.argv[1] == "-c":
    raise SystemExit(0)
import torch
from benchmarks.policies.rivals.workers.job import Chosen, work

def choose(job, model, batches):
    assert len(batches[0][0]) == job.batch == len(batches[0][1])
    bits = {name: job.bits[at % len(job.bits)] for at, name in enumerate(job.layers)}
    made = {}
    for name, count in bits.items():
        weight = dict(model.named_modules())[name].weight.detach()
        scale = weight.abs().flatten(1).amax(1).view(-1, *[1] * (weight.dim() - 1)) / (2 ** (count - 1) - 1)
        made[name] = torch.round(weight / scale) * scale
    return Chosen(bits, made)

raise SystemExit(work(sys.argv[-1:], "toy 1.0", choose))
"""
TOOL = tools.Tool("toy", ("toy==1.0",), (2, 3, 4), (Fraction(3),), ("clever", "uniform"), ("demo",), {"chargpt": "why"})


def fake_python(folder: Path, script: str) -> Path:
    """An environment whose Python runs that script, whatever it is asked to run."""
    python = folder / "toy" / "bin" / "python"
    python.parent.mkdir(parents=True)
    (folder / "toy.py").write_text(script)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{folder / "toy.py"}" "$@"\n')
    python.chmod(0o755)
    return python


@pytest.fixture(scope="module")
def case() -> Split:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Embedding(5, 6), nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
        data = [(torch.randint(0, 5, (16,)), torch.randint(0, 3, (16,))) for _ in range(4)]
    return Split("demo", model, [each for each, _ in data[:2]], data[2:], [each for _, each in data[:2]])


def answer(court: judging.Court, bits: int, values: int | None = None) -> Answer:
    """Weights with that many values in a channel."""
    weights = {}
    for row in court.layers:
        steps = np.arange(np.prod(row.shape[1:])) % (values or 2**bits)
        weights[row.name] = np.broadcast_to(steps.reshape(row.shape[1:]), row.shape).astype(np.float32).copy()
    return Answer(dict.fromkeys(court.names, bits), weights, 1.25, "toy 1.0")


def test_the_judge_runs_the_weights_and_counts_bytes_by_our_rule(case: Split) -> None:
    court = judging.Court(case)
    assert court.names == ("1", "3")  # no embedding
    given = answer(court, 2)
    found = court.judge("clever", given)
    assert found.weight_bytes == (48 * 2 + 8 * 32) // 8 + (24 * 2 + 3 * 32) // 8
    assert found.formats == ("w2", "w2")
    other = copy.deepcopy(case.model)
    for name, weight in given.weights.items():
        other.get_submodule(name).weight.data = torch.from_numpy(weight)
    expected = Evaluator(case.model, case.held_out).evaluate_model(other)
    assert found.found.kl == expected.kl > 0
    assert court.judge("clever", given).found.kl == expected.kl  # the float network is as it was


def test_the_judge_refuses_more_values_than_the_bits_tell_apart(case: Split) -> None:
    court = judging.Court(case)
    with pytest.raises(WrongInput, match="a channel of 1 has 5 values, more than 2 bits tell apart"):
        court.judge("clever", answer(court, 2, 5))
    missing = answer(court, 2)
    with pytest.raises(WrongInput, match=r"the answer has other layers: \['3'\]"):
        court.judge("clever", Answer({"1": 2}, missing.weights, 1.0, "toy 1.0"))
    assert court.judge("clever", answer(court, 16, 3)).formats == ("float", "float")


@pytest.mark.slow
def test_our_own_rows_keep_to_the_bytes(case: Split) -> None:
    found = list(judging.Court(case).own("w2,w3,w4", Fraction(3)))
    named = [f"{name}, {rounder}" for rounder in ("nearest", "gptq, finished") for name in ("uniform", "exact")]
    assert [each.policy for each in found] == named
    assert {each.weight_bytes for each in found[::2]} == {72 * 3 // 8 + 11 * 4}
    assert all(each.weight_bytes <= found[0].weight_bytes for each in found)
    assert found[0].formats == ("w3", "w3")


def test_a_tool_is_asked_once_and_what_it_cannot_do_is_kept(
    case: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    court, asked = judging.Court(case), []

    def ask(tool: tools.Tool, court: judging.Court, average: Fraction, method: str, *_: object) -> Answer:
        asked.append((float(average), method))
        return answer(court, 2, 4 if method == "clever" else 5)

    monkeypatch.setattr(command, "asked", ask)
    monkeypatch.setattr(command, "python_of", lambda *_: tmp_path)
    monkeypatch.setattr(judging.Court, "own", lambda *_: iter(()))
    path = tmp_path / "rivals.csv"

    def go(tool: tools.Tool) -> None:
        for row in command.rows(tool, court, None, tmp_path, path):
            append_rows(path, command.FIELDS, [row])

    go(TOOL)
    go(TOOL)
    assert asked == [(3.0, "clever"), (3.0, "uniform")]
    elsewhere = tools.Tool("toy", ("toy==1.0",), (2, 3, 4), (), (), (), {"demo": "too small for it"})
    go(elsewhere)
    go(elsewhere)
    rows = read_rows(path)
    assert [row["policy"] for row in rows] == ["clever", "uniform", "not run"]
    assert [bool(row["kl"]) for row in rows] == [True, False, False]
    text = page.text(rows)
    assert "| 3 | w2 w3 w4 | toy: clever | 62 |" in text
    assert "- toy 1.0, demo, uniform, 3 bits: uniform: a channel of 1 has 5 values" in text
    assert "- toy 1.0, demo: too small for it." in text


def test_uniform_is_asked_for_only_where_there_is_such_a_format() -> None:
    assert TOOL.policies(Fraction(3)) == ["clever", "uniform"]
    assert TOOL.policies(Fraction(5)) == TOOL.policies(Fraction("2.5")) == ["clever"]
    assert TOOL.worker == "benchmarks.policies.rivals.workers.with_toy"
    for tool in tools.TOOLS.values():
        assert importlib.util.find_spec(tool.worker) is not None
        assert {*tool.networks, *tool.not_run} == set(command.NETWORKS)


@pytest.mark.slow
def test_a_worker_runs_in_its_environment_and_answers_in_files(tmp_path: Path) -> None:
    from mckp_quant import demo

    python = fake_python(tmp_path, TOY)
    assert environments.python_of(tmp_path, TOOL) == python
    inputs, targets = (torch.cat(each) for each in zip(*demo.calibration(), strict=True))
    job = Job("demo", "", ("stem", "head"), (2, 3), 2.5, "clever", 50)
    write_job(tmp_path / "job", job, inputs, targets)
    found = environments.answer_of(python, TOOL, tmp_path / "job")
    assert found.bits == {"stem": 2, "head": 3}
    assert found.version == "toy 1.0"
    assert found.weights["stem"].shape == (12, 1, 3, 3)
    assert max(len(np.unique(row)) for row in found.weights["head"]) <= 7
    assert read_answer(tmp_path / "job").bits == found.bits


def test_a_worker_that_fails_says_its_last_line(tmp_path: Path) -> None:
    python = fake_python(tmp_path, "print('a folder of this machine')\nraise SystemExit('no such format')\n")
    (tmp_path / "job").mkdir()
    with pytest.raises(WrongInput, match=r"^toy failed \(exit code 1\): no such format$"):
        environments.answer_of(python, TOOL, tmp_path / "job")
    with pytest.raises(WrongInput, match="--tool toy: its environment could not be made: no such format"):
        environments.python_of(tmp_path, TOOL)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--tool", "nothing"], "--tool nothing is unknown: give some of modelopt, nncf, auto-round"),
        (["run", "--network", "nothing"], "--network nothing is unknown"),
        (["run"], "--environments is missing: name a folder"),
        (["run", "--environments", "x", "--network", "resnet20"], "--data is missing"),
        (["page", "--csv", "nothing.csv"], "there is no such file"),
    ],
)
def test_what_is_unknown_is_refused(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(arguments) == 2
    assert message in capsys.readouterr().err
