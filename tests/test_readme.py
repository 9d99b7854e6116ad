from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import mckp_quant as mq
from mckp_quant.cli.entry import application

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    fences = re.split(r"^```(\w*)\n", README, flags=re.MULTILINE)
    return [fences[at + 1] for at in range(1, len(fences), 4) if fences[at] == language]


def test_the_solver_example_prints_what_its_comment_says(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = [block for block in blocks("python") if "Problem.from_table" in block]
    exec(compile(example, "README.md", "exec"), {})
    first = capsys.readouterr().out.splitlines()[0]
    assert f"# {first}\n" in example


def test_the_network_example_runs_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    (example,) = [block for block in blocks("python") if "mckp_quant as mq" in block]
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(example, "README.md", "exec"), names)
    assert capsys.readouterr().out.splitlines()[0].endswith("proved optimal")
    written = mq.Policy.load(tmp_path / "policy.json")
    assert written == names["found"].policy
    assert written["head"].name == "w8"
    assert written.costs["weight_bytes"] <= 40_000


def test_the_examples_are_short_and_so_is_the_page() -> None:
    lines = README.splitlines()
    assert len(lines) <= 125  # two screens
    (example,) = [block for block in blocks("python") if "mckp_quant as mq" in block]
    assert len([line for line in example.splitlines() if line and "import" not in line]) == 5


def test_the_picture_is_there_and_links_lead_somewhere() -> None:
    links = re.findall(r"\]\((?!http)([^)]+)\)", README)
    assert "docs/front.svg" in links
    assert [link for link in links if not (ROOT / link).is_file()] == []


def test_the_commands_are_understood() -> None:
    typed = [line.partition("#")[0].strip() for block in blocks("") for line in block.splitlines()]
    lines = [
        line.removeprefix(".venv/bin/") for line in typed if line.removeprefix(".venv/bin/").startswith("mckp-quant ")
    ]
    assert [shlex.split(line)[1] for line in lines] == ["front", "recipe", "run"]
    for line in lines:
        command, *arguments = shlex.split(line)[1:]
        # With --help at the end nothing runs, but an option that does not exist is an error all the same.
        result = CliRunner().invoke(application, [command, *arguments, "--help"])
        assert result.exit_code == 0, line
        options = {word for word in arguments if word.startswith("-")}
        assert all(option in result.output for option in options), line
