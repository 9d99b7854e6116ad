"""Every command that needs budgets has every option of a request, and each option does something or is refused."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mckp_quant import Activation, Layer, Policy, Request, SensitivityTable, cli
from mckp_quant.cli import main
from mckp_quant.cli.request_options import RequestOptions, refuse_constraints
from mckp_quant.errors import InvalidInput
from mckp_quant.formats.format import as_formats

NET = """
import torch

class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.q_proj, self.k_proj, self.out = torch.nn.Linear(6, 8), torch.nn.Linear(6, 8), torch.nn.Linear(8, 3)

    def forward(self, inputs):
        return self.out(torch.tanh(self.q_proj(inputs)) * torch.tanh(self.k_proj(inputs)))

def model():
    torch.manual_seed(0)
    return Block()
"""
LAYERS = ("q_proj", "k_proj", "out")
RUNNING = ["--model", "net.py:model", "--data", "data.npz", "--batch-size", "8"]
# What each command needs beside the table and the request.
COMMANDS = {
    "solve": ["--json"],
    "compare": ["--json", "--solver", "exact,highs"],
    "stability": ["--json", "--draws", "2"],
    "refine": ["--json", *RUNNING, "--evaluations", "1", "-o", "out.json", "--force"],
    "confirm": ["--json", *RUNNING, "--evaluations", "1", "-o", "out.json", "--force"],
    "search": ["--json", *RUNNING, "--method", "random", "--evaluations", "2", "-o", "out.json", "--force"],
    "compete": ["--json", *RUNNING, "--methods", "exact", "--held-out", "data.npz"],
}
LOOSE = ["--budget", "weight_bytes=100%"]
# Each option with what is asked beside it, and the entry of the request that it makes.
OPTIONS: dict[str, tuple[list[str], dict[str, Any]]] = {
    "--budget": (["--budget", "weight_bytes=70%"], {"budgets": {"weight_bytes": "70%"}}),
    "--at-least": ([*LOOSE, "--at-least", "bops=10%"], {"at_least": {"bops": "10%"}}),
    "--pin": ([*LOOSE, "--pin", "out=w2"], {"pinned": {"out": "w2"}}),
    "--tie": ([*LOOSE, "--tie", "q_proj,out"], {"tied": [["q_proj", "out"]]}),
    "--tie-rule": ([*LOOSE, "--tie-rule", "qkv"], {"tie_rules": ["qkv"]}),
    "--allow": ([*LOOSE, "--allow", "last=w2,w4"], {"choices": {"last": ["w2", "w4"]}}),
    "--target": ([*LOOSE, "--target", "onnxruntime"], {"target": "onnxruntime"}),
    "--costs": (["--costs", "latency=latency.csv", "--budget", "latency=5"], {"budgets": {"latency": "5"}}),
    "--max-formats": (
        ["--budget", "weight_bytes=60%", "--max-formats", "1"],
        {"constraints": {"max_formats": 1}},
    ),
    "--previous": (
        [*LOOSE, "--previous", "previous.json", "--max-changes", "0"],
        {"constraints": {"max_changes": 0}},
    ),
    "--max-changes": (
        [*LOOSE, "--previous", "previous.json", "--max-changes", "1"],
        {"constraints": {"max_changes": 1}},
    ),
    "--falling": (
        ["--budget", "weight_bytes=60%", "--falling", "out,q_proj"],
        {"constraints": {"falling": [["out", "q_proj"]]}},
    ),
    "--rising": (
        ["--budget", "weight_bytes=60%", "--rising", "q_proj,out"],
        {"constraints": {"rising": [["q_proj", "out"]]}},
    ),
    "--convert": (
        ["--budget", "bops=60%", "--convert", "bops:q_proj>out=9"],
        {"constraints": {"conversions": [{"resource": "bops", "edges": [["q_proj", "out"]], "cost": 9}]}},
    ),
    "--activations": (
        ["--budget", "activation_bytes=44", "--activations", "tensors.json"],
        {"activations": [{"elements": 5, "first": 0, "last": 1, "readers": ["q_proj", "k_proj"]}]},
    ),
    "--request": (["--request", "request.toml"], {"pinned": {"q_proj": "w4"}}),
}
NO_CONSTRAINTS = {"search", "compete"}  # what they refuse, by the name of the option


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of a network of three layers, the network, and the files that options name."""
    where = tmp_path_factory.mktemp("request")
    (where / "net.py").write_text(NET)
    inputs = torch.randn(16, 6, generator=torch.Generator().manual_seed(0)).numpy()
    np.savez(where / "data.npz", inputs=inputs, targets=(inputs.sum(axis=1) > 0).astype(np.int64))
    shapes = {"q_proj": (8, 6), "k_proj": (8, 6), "out": (3, 8)}
    layers = tuple(Layer(name, "linear", shape, shape[0], shape[0] * shape[1]) for name, shape in shapes.items())
    loss = np.array([[3.0], [2.0], [5.0]]) * [[1.0, 0.1, 0.01]]
    noise = np.random.default_rng(0).normal(1, 0.1, (8, *loss.shape))
    table = SensitivityTable(
        layers,
        as_formats("w2,w4,w8"),
        (loss * noise).mean(axis=0),
        (loss * noise).std(axis=0) / 8**0.5,
        contributions=loss * noise,
        batch_sizes=np.full(8, 2.0),
        activations=(Activation(6, 0, 1, ("q_proj", "k_proj")),),
    )
    table.save(where / "table.json")
    Policy.uniform(table, "w4").save(where / "previous.json")
    (where / "latency.csv").write_text("layer,w2,w4,w8\n" + "".join(f"{name},1,2,3\n" for name in LAYERS))
    # Smaller ones than in the table: what the budget of the test allows is possible with these only.
    tensors = [{"elements": 5, "first": 0, "last": 1, "readers": ["q_proj", "k_proj"]}]
    (where / "tensors.json").write_text(json.dumps(tensors))
    (where / "request.toml").write_text('[budgets]\nweight_bytes = "100%"\n[pinned]\nq_proj = "w4"\n')
    return where


def formats_of(command: str, document: dict[str, Any]) -> dict[str, str]:
    """The policy of the result; empty where a command shows none."""
    if command == "stability":
        found: dict[str, str] = document["nominal"]["formats"]
        return found
    policy = {"solve": document, "compete": document.get("rows", [{}])[0].get("policy")}.get(
        command, document.get("policy")
    )
    return {} if policy is None else {row["layer"]: row["format"] for row in policy["layers"]}


def holds(option: str, formats: dict[str, str]) -> bool:
    """Whether a policy is one that the option allows."""
    bits = {layer: int(name.removeprefix("w")) for layer, name in formats.items()}
    changes = sum(name != "w4" for name in formats.values())
    return {
        "--pin": lambda: formats["out"] == "w2",
        "--tie": lambda: formats["q_proj"] == formats["out"],
        "--tie-rule": lambda: formats["q_proj"] == formats["k_proj"],
        "--allow": lambda: formats["out"] in {"w2", "w4"},
        "--target": lambda: "w2" not in formats.values(),
        "--costs": lambda: sum({2: 1, 4: 2, 8: 3}[each] for each in bits.values()) <= 5,
        "--max-formats": lambda: len(set(bits.values())) == 1,
        "--previous": lambda: changes == 0,
        "--max-changes": lambda: changes <= 1,
        "--falling": lambda: bits["out"] >= bits["q_proj"],
        "--rising": lambda: bits["q_proj"] <= bits["out"],
        "--request": lambda: formats["q_proj"] == "w4",
    }.get(option, lambda: True)()


def test_every_option_is_tried() -> None:
    named = {f"--{field.name.replace('_', '-')}" for field in dataclasses.fields(RequestOptions)}
    assert set(OPTIONS) == named


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shows_every_option_of_a_request(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    out = capsys.readouterr().out
    _, _, section = out.partition("\nRequest:\n")
    for option in OPTIONS:
        assert f"  {option} " in section, option


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_has_its_effect_or_is_refused_by_name(
    command: str,
    option: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    arguments, entry = OPTIONS[option]
    code = main([command, "table.json", *arguments, *COMMANDS[command]])
    captured = capsys.readouterr()
    if "constraints" in entry and command in NO_CONSTRAINTS:
        assert code == 2
        named = "--previous" if option == "--max-changes" else option
        assert f"{command} cannot honour {named} (constraints." in captured.err
        return
    assert code == 0, captured.err
    document = json.loads(captured.out)
    if command != "solve":  # whose result is the policy
        asked = document["request"]
        for name, told in entry.items():
            assert asked[name].items() >= told.items() if isinstance(told, dict) else asked[name] == told
    formats = formats_of(command, document)
    assert holds(option, formats) if formats else command == "compare"


def test_constraints_and_terms_between_layers_do_not_go_together(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    arguments = ["refine", "table.json", *LOOSE, "--max-formats", "2", *COMMANDS["refine"]]
    assert main([*arguments, "--interactions"]) == 2
    assert "refine --interactions cannot honour --max-formats (constraints.max_formats" in capsys.readouterr().err
    with pytest.raises(
        InvalidInput, match=r"^x cannot honour --rising \(constraints.rising in a request\): y; leave it"
    ):
        refuse_constraints(RequestOptions(budget=["bops=1"], rising=["a,b"]).read(), "x", "y")


def test_options_add_to_the_file_and_override_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    (folder / "whole.toml").write_text(
        """
        target = "torchao"
        tied = [["a", "b"]]
        tie_rules = ["qkv"]
        costs = ["latency.csv"]
        [budgets]
        weight_bytes = "50%"
        latency = 5
        [at_least]
        bops = 1
        [pinned]
        a = "w2"
        [choices]
        last = ["w2"]
        "*" = ["w4"]
        [constraints]
        max_formats = 2
        falling = [["a", "b"]]
        """
    )
    file = Request.from_toml("whole.toml")
    alone = RequestOptions(request=folder / "whole.toml").read()
    assert alone.document() == file.document()
    both = RequestOptions(
        request=folder / "whole.toml",
        budget=["weight_bytes=60%", "bops=7"],
        pin=["b=w4"],
        tie=["c,d"],
        tie_rule=["vllm"],
        allow=["last=w8"],
        target="vllm",
        costs=["energy:nJ=latency.csv"],
        max_formats=3,
        falling=["c,d"],
    ).read()
    assert both.budgets == {"latency": 5, "weight_bytes": "60%", "bops": "7"}
    assert both.at_least == {"bops": 1}
    assert both.pinned == {"a": "w2", "b": "w4"}
    assert both.tied == (("a", "b"), ["c", "d"])
    assert both.tie_rules == ("qkv", "vllm")
    assert list(both.choices or {}) == ["*", "last"], "the last rule that matches counts"
    assert both.target == "vllm"
    assert [each.name for each in both.costs] == ["latency", "energy"]
    assert both.constraints is not None
    assert both.constraints.max_formats == 3
    assert both.constraints.falling == (("a", "b"), ["c", "d"])
    both.save("whole.json")
    assert RequestOptions(request=folder / "whole.json").read().document() == both.document()


def test_a_file_of_another_kind_and_no_budget_at_all_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    assert main(["solve", "table.json", "--request", "request.yaml"]) == 2
    assert "unknown kind of request '.yaml'" in capsys.readouterr().err
    assert main(["solve", "table.json", "--pin", "out=w2"]) == 2
    assert "Missing option '--budget': name a limit" in capsys.readouterr().err
    assert main(["solve", "table.json", "--at-least", "bops=10%", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["budgets"][0]["least"] is True


@pytest.mark.parametrize(
    ("commands", "option", "words"),
    [
        (COMMANDS, ["--seed", "-1"], "seed is -1: it must be a whole number from 0 to"),
        (COMMANDS, ["--seed", "1.5"], "Invalid value for '--seed'"),
        (
            set(COMMANDS) - {"compete"},
            ["--seconds", "-5"],
            "seconds is -5.0: give a number of seconds above 0",
        ),
        (["compete"], ["--seconds", "5"], "No such option: --seconds"),
        (["stability"], ["--draws", "0"], "draws is 0: it must be a whole number, at least 2"),
        (
            ["refine", "search", "compete"],
            ["--batch-size", "0"],
            "--batch-size is 0: it must be a whole number, at least 1",
        ),
        (
            ["refine", "search", "compete"],
            ["--context", "-3"],
            "--context is -3: it must be a whole number, at least 1",
        ),
    ],
)
def test_numbers_that_make_no_sense_are_refused_in_the_same_words(
    commands: Any,
    option: list[str],
    words: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    for command in sorted(commands):
        assert main([command, "table.json", *LOOSE, *COMMANDS[command], *option]) == 2
        assert words in capsys.readouterr().err


def test_a_request_is_made_in_one_place() -> None:
    made = [path.name for path in Path(cli.__file__).parent.glob("*.py") if re.search(r"\bRequest\(", path.read_text())]
    assert made == ["request_options.py"]
