from __future__ import annotations

import importlib
import re
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmarks.command_line import Command, WrongInput, require_file
from benchmarks.pages import DOCS, ROOT

if TYPE_CHECKING:
    import argparse

COMMANDS = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__")
    for path in [*(ROOT / "benchmarks").glob("*/*.py"), *(ROOT / "benchmarks").glob("*/*/__main__.py")]
    if "raise SystemExit(main())" in path.read_text(encoding="utf-8")
)


def command() -> Command:
    made = Command("What it does.", ("run", "page"))
    made.folder("--instances", exists=True)
    made.whole("--seeds", 3)
    made.seconds("--seconds", 2.0, "limit")
    made.several("--averages", Fraction, "2.5,3")
    made.file("--csv", Path("results.csv"))
    return made


def test_options_have_the_types_that_were_declared() -> None:
    seen: list[argparse.Namespace] = []

    def work(options: argparse.Namespace) -> int:
        seen.append(options)
        return 1

    assert command().run(["run", "--seeds", "4"], work) == 1
    (options,) = seen
    assert options.action == "run"
    assert options.averages == [Fraction(5, 2), Fraction(3)]
    assert (options.instances, options.seeds, options.seconds) == (None, 4, 2.0)
    assert options.csv == Path("results.csv")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--instances", "nowhere"], "--instances nowhere: there is no such folder\n"),
        (["run", "--seeds", "0"], "--seeds 0: it must be at least 1\n"),
        (["run", "--seconds", "nan"], "--seconds nan: it must be above 0\n"),
    ],
)
def test_wrong_values_are_refused_before_the_work(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command().run(arguments, lambda options: 0) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == message


def test_what_the_work_refuses_is_said_too(capsys: pytest.CaptureFixture[str]) -> None:
    def work(options: argparse.Namespace) -> int:
        require_file("--csv", options.csv, "benchmarks.a.b run")
        return 0

    with pytest.raises(WrongInput, match="make it with"):
        require_file("--csv", Path("nowhere.csv"), "benchmarks.a.b run")
    assert command().run(["page", "--csv", "nowhere.csv"], work) == 2
    message = "--csv nowhere.csv: there is no such file; make it with: python -m benchmarks.a.b run\n"
    assert capsys.readouterr().err == message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["walk"], "invalid choice: 'walk'"),
        (["run", "--averages", "2,x"], "argument --averages: invalid list value: '2,x'"),
    ],
)
def test_arguments_that_cannot_be_read_end_the_command(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        command().run(arguments, lambda options: 0)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_how_it_is_used(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    module = importlib.import_module(name)
    if not hasattr(module, "main"):  # a package
        module = importlib.import_module(f"{name}.__main__")
    with pytest.raises(SystemExit, match="0"):
        module.main(["--help"])
    assert f"    python -m {name} " in capsys.readouterr().out


def test_commands_and_files_that_are_named_exist() -> None:
    assert len(COMMANDS) == 36
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "Makefile", *DOCS.rglob("*.md")]
    for path in [*pages, *(ROOT / "benchmarks").rglob("*.py")]:
        text = path.read_text(encoding="utf-8")
        for name in re.findall(r"-m (benchmarks(?:\.\w+)+)", text):
            assert name in COMMANDS, f"{path} names the command {name}"
        for name in re.findall(r"\bbenchmarks/[\w/]+\.(?:py|csv)\b", text):
            assert (ROOT / name).is_file(), f"{path} names the file {name}"
        assert "python benchmarks/" not in text, f"{path} runs a module of a package by its path"
