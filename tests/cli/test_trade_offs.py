from __future__ import annotations

import csv
import importlib.util
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

import mckp_quant as mq
from mckp_quant import Policy, Request
from mckp_quant.cli import main
from mckp_quant.tables import schema

from ..drawn_tables import make_table
from ..tables.test_schemas import complaints
from ..trade_off import sharp

if TYPE_CHECKING:
    from pathlib import Path

TABLE = make_table((np.random.default_rng(3).random((5, 1)) * [[1.0, 0.1, 0.01]]).tolist())
NET = """
from tests.trade_off import sharp

network = sharp.network
held_back = sharp.held_back
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a table."""
    monkeypatch.chdir(tmp_path)
    TABLE.save("table.json")
    return tmp_path


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What smallest takes: a table, a network and batches."""
    monkeypatch.chdir(tmp_path)
    sharp.table().save("table.json")
    (tmp_path / "net.py").write_text(NET)
    return ["table.json", "--model", "net.py:network", "--data", "net.py:held_back"]


def test_front_writes_what_the_library_finds(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    arguments = ["front", "table.json", "--budget", "weight_bytes=60%", "--pin", "a=w4"]
    files = ["-o", "front.json", "--csv", "front.csv", "--plot", "front.png"]
    assert main([*arguments, *files]) == 0
    captured = capsys.readouterr()
    assert captured.err.splitlines() == ["wrote front.csv", "wrote front.png", "wrote front.json"]
    wanted = mq.front(TABLE, Request({"weight_bytes": "60%"}, pinned={"a": "w4"}))
    document = json.loads((here / "front.json").read_text())
    assert complaints(schema("front"), document) == []
    made_from = {key: entry for key, entry in document.items() if key not in ("schema", "made_from")}
    assert made_from == wanted.document()
    assert (here / "front.csv").read_text() == wanted.as_csv()
    assert (here / "front.png").read_bytes().startswith(b"\x89PNG")
    assert f"{len(wanted)} points" in captured.out
    assert main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["points"] == document["points"]


def test_front_needs_no_budget_and_goes_along_any(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["front", "table.json", "--along", "bops", "--points", "4", "--pin", "b=w2", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["along"], document["counts"], document["chosen"], document["limit"]) == (
        "bops",
        "bops",
        None,
        None,
    )
    assert len(document["points"]) == 4
    assert {each["formats"][1] for each in document["points"]} == {"w2"}
    assert main(["front", "table.json", "--budget", "bops=50%", "--csv", "front.csv"]) == 0
    rows = list(csv.DictReader((here / "front.csv").read_text().splitlines()))
    assert rows[-1]["name"] == "chosen"


def test_explain_answers_both_ways(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "table.json", "--budget", "weight_bytes=700"]) == 0
    assert "one more byte is worth about" in capsys.readouterr().out
    assert main(["explain", "table.json", "--budget", "weight_bytes=100"]) == 1
    assert "no policy is within the budgets" in capsys.readouterr().out
    assert main(["explain", "table.json", "--budget", "weight_bytes=100", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert (document["schema"], document["policy"]) == ("mckp-quant/explanation/1", None)
    assert document["request"] == {"budgets": {"weight_bytes": "100"}}


def test_k_best_lists_the_policies_in_their_order(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["k-best", "table.json", "--budget", "weight_bytes=700", "-k", "3", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    best = mq.allocate(TABLE, {"weight_bytes": 700}).policy
    assert len(document["policies"]) == 3
    assert document["policies"][0]["predicted"] == best.predicted
    assert main(["k-best", "table.json", "--budget", "weight_bytes=700"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2 + 5
    assert main(["k-best", "table.json", "--budget", "weight_bytes=700", "--max-formats", "2"]) == 2
    assert "k-best cannot honour --max-formats" in capsys.readouterr().err


def test_smallest_writes_the_policy_that_keeps_the_limit(
    measured: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    limit = ["--accuracy-drop-at-most", "10%", "--evaluations", "14", "--budget", "weight_bytes=50%"]
    assert main(["smallest", *measured, *limit, "-o", "policy.json", "--csv", "front.csv"]) == 0
    captured = capsys.readouterr()
    assert captured.err.splitlines() == ["wrote front.csv", "wrote policy.json"]
    walk = mq.front(sharp.table(), {"weight_bytes": "50%"})
    found = mq.smallest(sharp.network(), walk, sharp.held_back(), accuracy_drop_at_most="10%", evaluations=14)
    assert Policy.load(tmp_path / "policy.json").document() == found.policy.document()
    assert captured.out.rstrip().endswith(found.verdict)
    assert main(["smallest", *measured, *limit, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["verdict"] == found.verdict
    assert (document["schema"], document["metric"], document["limit"]) == (
        "mckp-quant/smallest/1",
        "accuracy drop",
        0.1,
    )


@pytest.mark.parametrize(
    ("limit", "code", "words"),
    [
        ([], 2, "no limit is given: give one of --kl-at-most, --loss-at-most and --accuracy-drop-at-most"),
        (["--kl-at-most", "1", "--loss-at-most", "1"], 2, "2 limits are given: give one of --kl-at-most"),
        (["--accuracy-drop-at-most", "2"], 2, "--accuracy-drop-at-most is '2': write 0.01 or '1%'"),
        (["--kl-at-most", "1e-12", "--evaluations", "3"], 1, "no policy of the front keeps the KL at most 1e-12"),
    ],
)
def test_smallest_says_what_is_wrong_with_a_limit(
    measured: list[str], capsys: pytest.CaptureFixture[str], limit: list[str], code: int, words: str
) -> None:
    assert main(["smallest", *measured, *limit]) == code
    captured = capsys.readouterr()
    assert words in captured.err
    assert captured.out == ""


@pytest.mark.parametrize("option", ["--csv", "--plot", "-o"])
def test_files_that_cannot_be_written_are_refused_first(
    here: Path, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "folder").mkdir()
    assert main(["front", "no_table.json", option, "folder"]) == 2
    assert "is a folder: name a file" in capsys.readouterr().err


def test_a_picture_is_a_png_or_an_svg(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["front", "no_table.json", "--plot", "front.pdf"]) == 2
    assert "unknown kind of picture '.pdf'" in capsys.readouterr().err


def test_examples_stand_in_the_help_as_one_types_them(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("front", "explain", "k-best", "smallest"):
        assert main([command, "--help"]) == 0
        out = capsys.readouterr().out
        assert "\nExamples:\n" in out
        assert f"\n  mckp-quant {command} table.json" in out


def test_examples_are_taken_by_their_commands(measured: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    from mckp_quant.cli.help.texts import EXAMPLES

    pictures = importlib.util.find_spec("matplotlib") is not None
    for command in ("front", "explain", "k-best"):
        for line in EXAMPLES[command]:
            words = line.split()[2:]
            if "--plot" in words and not pictures:
                continue
            words = [
                "0=w8" if word == "head=w8" else word.replace("90kB", "900").replace("60kB", "600") for word in words
            ]
            assert main([command, *words]) in (0, 1), line
            assert "mckp-quant:" not in capsys.readouterr().err, line
