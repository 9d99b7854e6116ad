from __future__ import annotations

import errno
import json
import math
import os
import signal
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mckp_quant import Activation, Policy, Request, SensitivityTable, allocate, compare_solvers
from mckp_quant.cli import main
from mckp_quant.solvers import SolverFailure

from ..drawn_tables import make_table

if TYPE_CHECKING:
    from pathlib import Path

TABLE = make_table((np.random.default_rng(0).random((6, 1)) * [[1.0, 0.1, 0.001]]).tolist())


@pytest.fixture
def table(tmp_path: Path) -> str:
    path = tmp_path / "table.json"
    TABLE.save(path)
    return str(path)


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What was said on stderr, after a check that nothing was printed as a result."""
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()


def test_solve_writes_the_policy_that_allocate_finds(
    table: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "new" / "policy.json"
    budget = ["--budget", "weight_bytes=60%", "--budget", "bops=70%"]
    assert main(["solve", table, *budget, "--pin", "a=w8", "--tie", "b, c", "-o", str(output)]) == 0
    captured = capsys.readouterr()
    assert captured.err == f"wrote {output}\n"
    wanted = allocate(
        TABLE, Request({"weight_bytes": "60%", "bops": "70%"}, pinned={"a": "w8"}, tied=[["b", "c"]])
    ).policy
    found = Policy.load(output)
    assert found.document() == wanted.document()
    assert wanted.status in captured.out
    assert f"{wanted.costs['weight_bytes']:,} bytes" in captured.out
    rows = [line.split() for line in captured.out.splitlines()]
    for layer, entry in zip(wanted.layer_names, wanted.formats, strict=True):
        assert any(row[:2] == [layer, entry.name] for row in rows)


def test_json_of_solve_is_the_file_it_writes(table: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "policy.json"
    assert main(["solve", table, "--budget", "bits_per_weight=3.5", "--json", "-o", str(output)]) == 0
    assert capsys.readouterr().out == output.read_text()


def test_solver_seconds_and_seed_reach_the_solver(table: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--budget", "bops=50%", "--solver", "greedy", "--seed", "7", "--seconds", "5", "--json"]
    assert main(["solve", table, *arguments]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["solver"].startswith("Greedy(")
    assert document["seed"] == 7


def test_compare_prints_a_row_for_every_solver(table: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", table, "--budget", "weight_bytes=50%"]) == 0
    out = capsys.readouterr().out
    comparison = compare_solvers(TABLE, {"weight_bytes": "50%"})
    for row in comparison.rows:
        line = next(line for line in out.splitlines() if line.startswith(f"{row.solver} "))
        assert row.reason or row.status in line
    assert "excess over the answer of 'exact' (proved optimal)" in out
    assert "within weight_bytes = 50%" in out


def test_json_of_compare_is_one_document(table: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", table, "--budget", "bops=50%", "--solver", "greedy,exact", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["schema"], document["reference"]) == ("mckp-quant/comparison/1", "exact")
    assert [row["solver"] for row in document["rows"]] == ["greedy", "exact"]
    assert document["rows"][1]["excess"] == 0
    assert document["budgets"][0]["weights"] == sum(layer.elements for layer in TABLE.layers)


def test_compare_fails_where_a_solver_failed(
    table: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise SolverFailure("the backend is gone")

    monkeypatch.setattr("mckp_quant.allocation.comparison.solve", fail)
    assert main(["compare", table, "--budget", "bops=50%", "--solver", "exact"]) == 1
    captured = capsys.readouterr()
    assert captured.err == "failed: exact\n"
    assert "exact did not run: failed: the backend is gone" in captured.out


@pytest.mark.parametrize("command", ["solve", "compare"])
def test_budget_that_nothing_meets_is_exit_code_1_with_the_least_that_works(
    command: str, table: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, table, "--budget", "weight_bytes=1"]) == 1
    (line,) = lines(capsys)
    least = Policy.uniform(TABLE, "w2").costs["weight_bytes"]
    assert f"budget weight_bytes = 1 cannot be met: even the cheapest formats take {least:,} bytes" in line
    assert main([command, table, "--budget", f"weight_bytes={least}"]) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["solve"], "Missing argument 'TABLE': type it as in: mckp-quant solve table.json --budget weight_bytes=90kB"),
        (
            ["validate", "policy.json"],
            "Missing option '--model': type it as in: mckp-quant validate policy.json --model net.py:model --data",
        ),
        (["solve", "TABLE", "--budget", "bops=5", "--target", "VLLM"], "unknown target 'VLLM': did you mean 'vllm'?"),
        (["solve", "TABLE"], "Missing option '--budget'"),
        (["solve", "nothing.json", "--budget", "bops=1"], "cannot read the table 'nothing.json'"),
        (["solve", "TABLE", "--budget", "bops=50%", "--nope"], "No such option: --nope"),
        (["solve", "TABLE", "--budget", "bops"], "--budget 'bops' cannot be read: write --budget NAME=VALUE"),
        (["solve", "TABLE", "--budget", "=5"], "--budget '=5' cannot be read"),
        (
            ["solve", "TABLE", "--budget", "bops=5", "--budget", "bops=6"],
            "--budget 'bops' is given twice ('5' and '6')",
        ),
        (["solve", "TABLE", "--budget", "bops=much"], "budget bops = 'much' cannot be read"),
        (["solve", "TABLE", "--budget", "bops=-1"], "budget bops = '-1' is negative"),
        (["solve", "TABLE", "--budget", "bobs=1"], "unknown budget 'bobs': did you mean 'bops'"),
        (["solve", "TABLE", "--budget", "bops=50%", "--pin", "a"], "--pin 'a' cannot be read"),
        (["solve", "TABLE", "--budget", "bops=50%", "--pin", "z=w2"], "unknown layer 'z'"),
        (["solve", "TABLE", "--budget", "bops=50%", "--pin", "a=w3"], "unknown format 'w3'"),
        (["solve", "TABLE", "--budget", "bops=50%", "--tie", "a"], "--tie 'a' names 1 layer: name at least two"),
        (["solve", "TABLE", "--budget", "bops=50%", "--tie", "a,y"], "unknown layer 'y'"),
        (
            ["solve", "TABLE", "--budget", "bops=50%", "--solver", "exakt"],
            "unknown solver 'exakt': did you mean 'exact'",
        ),
        (["solve", "TABLE", "--budget", "bops=50%", "--seconds", "0"], "seconds is 0.0: give a number of seconds"),
        (["solve", "TABLE", "--budget", "bops=50%", "--seed", "one"], "'--seed'"),
        (["solve", "TABLE", "--budget", "bops=50%", "-o", "."], "-o '.' is a folder: name a file"),
        (
            ["solve", "TABLE", "--budget", "bops=50%", "-o", "table.json/policy.json"],
            "is no folder that can be written",
        ),
        (["compare", "TABLE", "--budget", "bops=50%", "--solver", "exakt"], "unknown solver 'exakt'"),
        (["resolve"], "No such command 'resolve'"),
        (["quantize"], "No such command 'quantize': 'mckp-quant --help' lists those there are"),
    ],
)
def test_wrong_input_is_exit_code_2_and_one_line(
    arguments: list[str],
    words: str,
    table: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([table if each == "TABLE" else each for each in arguments]) == 2
    (line,) = lines(capsys)
    assert line.startswith("mckp-quant: ")
    assert words in line
    assert [entry.name for entry in tmp_path.iterdir()] == ["table.json"]


def test_damaged_tables_are_refused(table: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = (tmp_path / "table.json").read_text()
    for text, words in (
        (whole[: len(whole) // 2], "is not whole JSON"),
        (whole.replace("table/1", "table/2"), "upgrade mckp-quant"),
        (whole.replace("table/1", "policy/1"), "expected a table"),
    ):
        (tmp_path / "table.json").write_text(text)
        assert main(["solve", table, "--budget", "bops=50%"]) == 2
        (line,) = lines(capsys)
        assert words in line


def test_layer_without_any_format_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = make_table([[1.0, 1.0, 1.0], [math.nan] * 3])
    table.save(tmp_path / "table.json")
    assert main(["solve", str(tmp_path / "table.json"), "--budget", "bops=50%"]) == 2
    assert "layer 'b' has no format that is allowed" in lines(capsys)[0]


def test_without_a_command_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    out = capsys.readouterr().out
    for command in ("demo", "measure", "solve", "validate", "compare", "refine", "search", "compete"):
        assert command in out


def test_every_command_explains_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("demo", "measure", "solve", "validate", "compare", "refine", "search", "compete"):
        assert main([command, "--help"]) == 0
        out = capsys.readouterr().out
        assert "--json" in out
        assert f"Usage: mckp-quant {command}" in out


def test_interrupt_is_not_an_error_of_the_program(
    table: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any, **__: Any) -> SensitivityTable:
        raise KeyboardInterrupt

    monkeypatch.setattr("mckp_quant.cli.options.read_table", interrupt)
    assert main(["solve", table, "--budget", "bops=50%"]) == 130
    assert lines(capsys) == ["mckp-quant: interrupted"]


@pytest.mark.parametrize("on_interrupt", [signal.default_int_handler, signal.SIG_IGN])
def test_sigterm_is_heard_as_an_interrupt(
    table: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, on_interrupt: Any
) -> None:
    def terminate(*_: Any, **__: Any) -> SensitivityTable:
        signal.raise_signal(signal.SIGTERM)
        raise AssertionError("the signal was not heard")

    monkeypatch.setattr("mckp_quant.cli.options.read_table", terminate)
    before = signal.getsignal(signal.SIGTERM), signal.signal(signal.SIGINT, on_interrupt)
    try:
        assert main(["solve", table, "--budget", "bops=50%"]) == 143
        assert signal.getsignal(signal.SIGTERM) is before[0]
    finally:
        signal.signal(signal.SIGINT, before[1])
    assert lines(capsys) == ["mckp-quant: interrupted"]


def test_a_full_disk_is_one_line_that_names_the_file(
    table: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "open", full)
    assert main(["solve", table, "--budget", "bops=50%", "-o", "p\x1b.json"]) == 2
    assert "No space left on device" in "".join(lines(capsys))


def test_constraints_and_activations_reach_the_solver(
    table: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tensors = [{"elements": 10, "first": 0, "last": 1, "readers": ["a"]}, {"elements": 9, "first": 1, "last": 1}]
    (tmp_path / "tensors.json").write_text(json.dumps(tensors))
    previous = tmp_path / "previous.json"
    Policy.uniform(TABLE, "w4").save(previous)
    budgets = ["--budget", "weight_bytes=60%", "--budget", "activation_bytes=200", "--budget", "bops=90%"]
    constraints = ["--max-formats", "2", "--previous", str(previous), "--max-changes", "3"]
    chains = ["--falling", "a,b", "--rising", "c,d", "--convert", "bops:e>f=1"]
    output = tmp_path / "policy.json"
    options = [*constraints, *chains, "--activations", str(tmp_path / "tensors.json"), "-o", str(output)]
    assert main(["solve", table, *budgets, *options]) == 0
    policy = Policy.load(output)
    assert len({entry.name for entry in policy.formats}) <= 2
    assert sum(entry.name != "w4" for entry in policy.formats) <= 3
    assert policy["a"].weight_bits >= policy["b"].weight_bits
    assert policy["c"].weight_bits <= policy["d"].weight_bits
    assert policy.costs["activation_bytes"] == 40 + 36
    assert "activation_bytes         76 bytes" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (["--convert", "bops=3"], "--convert 'bops=3' cannot be read: write --convert latency:conv1>conv2=120"),
        (["--convert", "bops:a>b=x"], "--convert 'bops:a>b=x' cannot be read"),
        (["--max-changes", "3"], "previous and max_changes belong together"),
    ],
)
def test_constraints_that_cannot_be_read_are_named(
    table: str, capsys: pytest.CaptureFixture[str], option: list[str], words: str
) -> None:
    assert main(["solve", table, "--budget", "weight_bytes=60%", *option]) == 2
    assert words in " ".join(lines(capsys))


def test_layers_that_share_an_input_can_be_tied_by_rule(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shared = SensitivityTable(
        TABLE.layers, TABLE.formats, TABLE.loss, TABLE.stderr, activations=(Activation(5, 0, 0, ("b", "e")),)
    )
    shared.save(tmp_path / "shared.json")
    command = ["solve", str(tmp_path / "shared.json"), "--budget", "weight_bytes=60%", "--tie-rule", "shared_inputs"]
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ties"] == [["b", "e"]]
