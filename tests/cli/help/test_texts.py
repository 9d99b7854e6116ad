"""Every command has a line and examples, and the examples name commands and options that there are."""

from __future__ import annotations

import re
import shlex

import pytest
import typer

from mckp_quant.cli.entry import application, main
from mckp_quant.cli.help.texts import EXAMPLES, SHORT, as_typed

COMMANDS = typer.main.get_command(application).commands  # type: ignore[attr-defined]


def test_texts_are_of_the_commands_there_are() -> None:
    assert list(COMMANDS) == [name for name in SHORT if name in COMMANDS]
    assert set(COMMANDS) == set(SHORT) == set(EXAMPLES)
    assert all(len(line) <= 80 and line.endswith(".") for line in SHORT.values())


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_name_options_that_there_are(name: str) -> None:
    known = {option for parameter in COMMANDS[name].params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert EXAMPLES[name]
    for line in EXAMPLES[name]:
        program, command, *words = shlex.split(line)
        assert (program, command) == ("mckp-quant", name)
        assert {word for word in words if word.startswith("-")} <= known, line


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_parser_takes_the_examples(name: str) -> None:
    for line in EXAMPLES[name]:
        COMMANDS[name].make_context(name, shlex.split(line)[2:], resilient_parsing=False)


_LOOKS = {
    "MODEL": r"hf:|onnx:|.+:",
    "POLICY": r"policy\.json",
    "TABLE": r"table\.",
    "RECIPE": r"recipe\.toml",
    "ARTEFACT": r".*\.onnx",
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_arguments_of_the_examples_stand_where_the_command_reads_them(name: str) -> None:
    arguments = [each for each in COMMANDS[name].params if each.param_type_name == "argument" and each.nargs == 1]
    for line in EXAMPLES[name]:
        words = shlex.split(line)[2 : 2 + len(arguments)]
        for argument, word in zip(arguments, words, strict=True):
            assert re.match(_LOOKS[argument.metavar or argument.name.upper()], word), line


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_help_shows_arguments_as_one_types_them(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    shown = capsys.readouterr().out
    assert not re.search(r"[{}]|\.{4}|list\[", shown.partition("Examples:")[0]), shown


@pytest.mark.parametrize("width", [40, 78, 200])
def test_a_shell_reads_the_same_of_examples_that_are_wrapped(width: int) -> None:
    for examples in EXAMPLES.values():
        lines = list(as_typed(examples, width))
        assert re.sub(r" \\\n +", " ", "\n".join(lines)).splitlines() == list(examples)
        assert width < 78 or all(len(line) <= width for line in lines)
