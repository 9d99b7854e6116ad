"""`--bank` and `--other-rounder` of the commands that run the network under policies."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import mckp_quant as mq
from mckp_quant.cli import main
from mckp_quant.policy.document import policy_arguments

from ..evaluation import banks
from ..search import small

NET = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from tests.search.small import network
"""
RUN = ["--model", "net.py:network", "--data", "data.npz", "--batch-size", "16"]
BUDGET = ["--budget", "weight_bytes=45%"]
COMMANDS = {
    "validate": ["validate", "policy.json", *RUN, "--json"],
    "refine": ["refine", "table.json", *BUDGET, *RUN, "--evaluations", "15", "-o", "made.json", "--json"],
    "confirm": ["confirm", "table.json", *BUDGET, *RUN, "--evaluations", "3", "-o", "sure.json", "--json"],
    "search": ["search", "table.json", *BUDGET, *RUN, "--method", "random", "--evaluations", "5", "-o", "made.json"],
    "compete": ["compete", "table.json", *BUDGET, *RUN, "--methods", "uniform,random", "--evaluations", "5", "--json"],
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the network, data, the bank, and a table and a policy of truncated weights."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NET)
    inputs = np.concatenate([own.numpy() for own, _ in small.data()])
    np.savez(tmp_path / "data.npz", inputs=inputs)
    banks.table().save(tmp_path / "table.json")
    mq.Policy.uniform(banks.table(), "w4").save(tmp_path / "policy.json")
    mq.round_weights(small.network(), small.data(), small.FORMATS, rounder=banks.Truncation(), output=tmp_path / "bank")
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS)
def test_a_table_or_policy_of_a_bank_needs_it_or_a_word(
    command: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(COMMANDS[command]) == 2
    assert "is about weights rounded by truncation, but these are rounded by nearest" in capsys.readouterr().err
    assert main([*COMMANDS[command], "--bank", "bank"]) in {0, 1}  # a verdict is no error
    with_bank = capsys.readouterr().out
    main([*COMMANDS[command], "--other-rounder", *(["--force"] if "-o" in COMMANDS[command] else [])])
    without = capsys.readouterr()
    assert "Traceback" not in without.err
    assert without.out != with_bank


def test_the_figures_are_those_of_the_banks_network(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([*COMMANDS["validate"], "--bank", "bank"])
    row = json.loads(capsys.readouterr().out)["rows"][-1]
    judge = mq.evaluation.Evaluator(small.network(), [own for own, _ in small.data()], bank=banks.bank())
    assert row["kl"] == pytest.approx(judge.evaluate(mq.Policy.uniform(banks.table(), "w4")).kl)
    assert main([*COMMANDS["compete"], "--bank", "bank"]) == 0
    for row in json.loads(capsys.readouterr().out)["rows"]:
        policy = mq.Policy(**policy_arguments(row["policy"], "the policy"))
        assert row["kl"] == pytest.approx(judge.evaluate(policy).kl)
    assert main([*COMMANDS["refine"], "--bank", "bank", "--interactions"]) == 0
    refined = mq.Policy.load(here / "made.json")
    assert refined.rounder == "truncation"


def test_the_rival_of_validate_is_the_banks_best_uniform_format(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mq.allocate(banks.table(), {"weight_bytes": "45%"}).policy.save(here / "policy.json")
    main([*COMMANDS["validate"], "--bank", "bank", "--table", "table.json"])
    names = [row["name"] for row in json.loads(capsys.readouterr().out)["rows"]]
    assert names[0] == "float"
    assert names[-1] == "policy"
    assert [name.endswith(", same rounder") for name in names[1:-1]] == [True]


def test_a_folder_without_a_bank_is_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*COMMANDS["validate"], "--bank", "nowhere"]) == 2
    assert "nowhere" in capsys.readouterr().err
