"""Every command has a line and examples, and the examples name commands and options that there are."""

from __future__ import annotations

import re
import shlex

import pytest
import typer

from mckp_quant.cli.entry import application
from mckp_quant.cli.help.texts import EXAMPLES, SHORT

COMMANDS = typer.main.get_command(application).commands  # type: ignore[attr-defined]


def lines_of(name: str) -> list[str]:
    """The examples of a command, those that go on in the next line in one."""
    return re.sub(r"\\\n\s*", "", "\n".join(EXAMPLES[name])).splitlines()


def test_texts_are_of_the_commands_there_are() -> None:
    assert list(COMMANDS) == [name for name in SHORT if name in COMMANDS]
    assert set(COMMANDS) == set(SHORT) == set(EXAMPLES)
    assert all(len(line) <= 80 and line.endswith(".") for line in SHORT.values())


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_name_options_that_there_are(name: str) -> None:
    known = {option for parameter in COMMANDS[name].params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert lines_of(name)
    for line in lines_of(name):
        program, command, *words = shlex.split(line)
        assert (program, command) == ("mckp-quant", name)
        assert {word for word in words if word.startswith("-")} <= known, line


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_parser_takes_the_examples(name: str) -> None:
    for line in lines_of(name):
        COMMANDS[name].make_context(name, shlex.split(line)[2:], resilient_parsing=False)
