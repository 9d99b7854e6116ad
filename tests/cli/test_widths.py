"""What commands print fits a terminal of 80 columns; names that lose their middle there are whole in JSON."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mckp_quant.cli import main

from ..drawn_tables import make_table

if TYPE_CHECKING:
    from pathlib import Path

NAMES = [f"model.decoder.layers.{at}.self_attention.output_projection.dense" for at in range(6)]
BUDGET = ("--budget", "weight_bytes=60%")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    rng = np.random.default_rng(0)
    table = make_table(np.sort(10.0 ** rng.uniform(-6, 0, (6, 5)))[:, ::-1].tolist(), formats="w2,w3,w4,w6,w8")
    layers = tuple(dataclasses.replace(layer, name=name) for layer, name in zip(table.layers, NAMES, strict=True))
    dataclasses.replace(table, layers=layers, stderr=0.1 * table.loss, rounder="gptq(damping=0.01)").save("table.json")
    assert main(["solve", "table.json", *BUDGET, "-o", "policy.json", "-q"]) == 0
    return tmp_path


@pytest.mark.parametrize(
    "arguments",
    [
        ("solve", "table.json", *BUDGET),
        ("front", "table.json", *BUDGET),
        ("explain", "table.json", *BUDGET),
        ("k-best", "table.json", *BUDGET),
        ("compare", "table.json", *BUDGET, "--solver", "exact,greedy,relax"),
        ("stability", "table.json", *BUDGET, "--draws", "5"),
        ("audit", "policy.json", "--table", "table.json"),
        ("report", "table.json", "policy.json"),
    ],
)
def test_every_line_fits(arguments: tuple[str, ...], here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(list(arguments)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert max(map(len, lines)) > 40


def test_names_are_whole_for_programs_and_told_apart_for_people(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["stability", "table.json", *BUDGET, "--draws", "5"]) == 0
    cut = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("model.")]
    assert len(set(cut[:6])) == 6
    assert main(["solve", "table.json", *BUDGET, "--json"]) == 0
    assert [each["layer"] for each in json.loads(capsys.readouterr().out)["layers"]] == NAMES


def test_wider_terminals_are_used(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    capsys.readouterr()
    assert main(["stability", "table.json", *BUDGET, "--draws", "5"]) == 0
    assert NAMES[0] in capsys.readouterr().out
