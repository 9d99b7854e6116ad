"""How a command line says what a network's outputs mean, and what people judge them by."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mckp_quant import InvalidInput, Outputs, Policy, SensitivityTable
from mckp_quant.cli import main
from mckp_quant.cli.groups.outputs import OutputsOptions
from mckp_quant.cli.networks import JudgedOutputsOptions

if TYPE_CHECKING:
    from pathlib import Path

NET = """
import torch
from mckp_quant import Outputs

class Detector(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = torch.nn.Linear(6, 5)
        self.classes = torch.nn.Linear(5, 6)
        self.boxes = torch.nn.Linear(5, 4)

    def forward(self, x):
        seen = self.trunk(x).tanh()
        return {"classes": self.classes(seen).view(-1, 2, 3), "boxes": self.boxes(seen).view(-1, 2, 2)}

def model():
    torch.manual_seed(0)
    return Detector().eval()

def data():
    g = torch.Generator().manual_seed(1)
    return [
        (torch.randn(8, 6, generator=g), (torch.randint(0, 3, (8, 2), generator=g), torch.randn(8, 2, 2, generator=g)))
        for _ in range(3)
    ]

def outputs():
    heads = (Outputs(name="classes"), Outputs(name="boxes", likelihood="gaussian", weight=0.5))
    return Outputs(heads=heads)

def nothing():
    return None

def far(logits, targets):
    return (logits[1] - targets[1]).flatten(1).norm(dim=1)

limit = 3
"""
HEADS = ["--head", "classes=categorical", "--head", "boxes=gaussian,weight=0.5"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NET)
    return tmp_path


def measured(*more: str) -> SensitivityTable:
    command = ["measure", "net.py:model", "--data", "net.py:data", "--formats", "w2,w4", "-o", "t.json", "--force"]
    assert main([*command, *more]) == 0
    return SensitivityTable.load("t.json")


def test_heads_are_named_on_the_command_line_or_in_a_function(here: Path) -> None:
    first, second = measured(*HEADS), measured("--outputs", "net.py:outputs")
    np.testing.assert_array_equal(first.loss, second.loss)
    assert first.likelihood == "categorical + 0.5 gaussian"
    assert first.unit == "nats per sample"


def test_validate_speaks_a_metric_of_ones_own(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Policy.uniform(measured(*HEADS), "w2").save("p.json")
    command = ["validate", "p.json", "--model", "net.py:model", "--data", "net.py:data", *HEADS]
    capsys.readouterr()
    main([*command, "--metric", "net.py:far", "--json", "--max-batches", "2"])
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert document["metric"] == "far"
    assert document["samples"] == 16
    before, after = document["rows"][0]["metric"], document["rows"][-1]["metric"]
    assert document["changes"]["metric"][0] == pytest.approx(after - before)
    assert captured.err.startswith("to run on 2 batches: ")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (OutputsOptions(head=["boxes"]), "--head 'boxes' cannot be read: write --head NAME=VALUE"),
        (OutputsOptions(head=["a=categorical", "a=gaussian"]), "--head 'a' is given twice"),
        (OutputsOptions(head=["a=poisson"]), "unknown likelihood 'poisson'"),
        (OutputsOptions(head=["a=gaussian,scale=2"]), "--head a: there is no 'scale': write a=gaussian,weight=0.5"),
        (OutputsOptions(head=["a=gaussian,weight=x"]), "--head a=gaussian,weight=x: could not convert.*: weight is a"),
        (OutputsOptions(head=["a=gaussian,weight=0"]), "weight is 0.0: it must be a number above 0"),
        (OutputsOptions("gaussian", None, ["a=gaussian"]), "--head is given: say likelihood and class dimension of"),
        (OutputsOptions(head=["a=gaussian"], outputs_from="net.py:outputs"), "--outputs says all of the outputs"),
        (OutputsOptions(outputs_from="net.py:nothing"), "outputs 'net.py:nothing' gave a NoneType: the function must"),
        (JudgedOutputsOptions(metric="net.py:none"), "unknown function in 'net.py' 'none'"),
        (JudgedOutputsOptions(metric="net.py:limit"), "metric 'net.py:limit' is a int, not a function"),
    ],
)
def test_what_cannot_be_read_is_refused(options: OutputsOptions, words: str, here: Path) -> None:
    with pytest.raises(InvalidInput, match=words):
        options.read()


def test_a_head_has_its_likelihood_weight_and_class_dimension() -> None:
    found = OutputsOptions(head=["maps=bernoulli, class_dim=1, weight=0.25", "rest=categorical"]).read()
    maps = Outputs(likelihood="bernoulli", class_dim=1, weight=0.25, name="maps")
    assert found == Outputs(heads=(maps, Outputs(name="rest")))
    assert OutputsOptions("bernoulli").read() == Outputs(likelihood="bernoulli")
