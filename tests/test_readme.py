from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from typer.testing import CliRunner

import mckp_quant as mq
from mckp_quant.cli.entry import application

if TYPE_CHECKING:
    import pytest

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    fences = re.split(r"^```(\w*)\n", README, flags=re.MULTILINE)
    return [fences[at + 1] for at in range(1, len(fences), 4) if fences[at] == language]


def test_the_solver_example_prints_what_its_comment_says(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = [block for block in blocks("python") if "Problem.from_table" in block]
    exec(compile(example, "README.md", "exec"), {})
    first = capsys.readouterr().out.splitlines()[0]
    assert f"# {first}\n" in example


def test_the_network_example_names_what_there_is() -> None:
    (example,) = [block for block in blocks("python") if "mckp_quant as mq" in block]
    names = set(re.findall(r"\bmq\.(\w+)", example))
    assert names <= set(dir(mq))
    assert {"measure", "allocate", "apply", "validate"} <= names
    compile(example, "README.md", "exec")


def test_the_commands_are_understood() -> None:
    lines = [line for block in blocks("") for line in block.splitlines() if line.startswith("mckp-quant ")]
    commands = ["measure", "solve", "validate", "compare", "stability", "refine", "search", "export", "audit"]
    assert [shlex.split(line)[1] for line in lines] == commands
    for line in lines:
        command, *arguments = shlex.split(line)[1:]
        # With --help at the end nothing runs, but an option that does not exist is an error all the same.
        result = CliRunner().invoke(application, [command, *arguments, "--help"])
        assert result.exit_code == 0, line
        options = {word for word in arguments if word.startswith("-")}
        assert all(option in result.output for option in options), line
