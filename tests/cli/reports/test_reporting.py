"""The command `report`: from files alone, into every form, and refusals that name the file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from mckp_quant.cli import main

from ...report.page.reports import allocation_on, finished_of, stability_of, table_of, validation_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    table = table_of()
    allocation = allocation_on(table)
    table.save("table.json")
    allocation.policy.save("policy.json")
    found = {"validation": validation_of(allocation), "stability": stability_of(allocation, table)}
    (tmp_path / "folder").mkdir()
    found["folder/finished"] = finished_of(allocation)
    for name, document in found.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(document), encoding="utf-8")
    (tmp_path / "recipe.toml").write_text("model = 'net.py:model'\n")
    return tmp_path


PARTS = ("--validation", "validation.json", "--stability", "stability.json", "--finished", "folder")


@pytest.mark.parametrize("form", ["html", "md", "txt"])
def test_all_that_is_given_is_shown(form: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = ("--recipe", "recipe.toml", "--name", "my net")
    assert main(["report", "table.json", "policy.json", *PARTS, *more, "-o", f"report.{form}"]) == 0
    assert capsys.readouterr().err == f"wrote report.{form}\n"
    text = (here / f"report.{form}").read_text(encoding="utf-8")
    for words in ("my net", "Size against loss", "How sure the policy is", "The last pass", "net.py:model"):
        assert words in text or words.upper() in text
    assert str(here) not in text


def test_without_a_file_it_is_printed_and_as_json_with_one_schema(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", "table.json", "policy.json"]) == 0
    assert capsys.readouterr().out.startswith("Mixed precision\n")
    assert main(["report", "table.json", "policy.json", *PARTS, "--json", "-o", "report.json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((here / "report.json").read_text())
    assert printed["schema"] == "mckp-quant/report/1"
    assert printed["front"]["points"]
    assert printed["budgets"][0]["price"] > 0
    assert printed["last_pass"]["after"] == 0.01


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-o", "report.pdf"), "unknown form of report '.pdf'"),
        (("-o", "table.json/report.html"), "-o 'table.json/report.html' cannot be written"),
        (("--validation", "none.json"), "none.json"),
        (("--validation", "list.json"), "--validation 'list.json' holds a list: it must be one JSON document"),
        (("--finished", "table.json"), "table.json"),
        (("--stability", "validation.json"), "the stability lacks the field 'nominal'"),
    ],
)
def test_what_cannot_be_read_is_named(
    arguments: tuple[str, ...], words: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "list.json").write_text("[]")
    assert main(["report", "table.json", "policy.json", *arguments]) == 2
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1
