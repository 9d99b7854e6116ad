from __future__ import annotations

import dataclasses
import inspect
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
import typer

from mckp_quant.cli import main
from mckp_quant.cli.entry import application
from mckp_quant.cli.groups.outputs import OutputsOptions
from mckp_quant.cli.option_groups import Only, with_groups
from mckp_quant.cli.options import RunningOptions
from mckp_quant.common.run_options import RunOptions

seen: list[tuple[Any, ...]] = []


@dataclass(frozen=True)
class Size:
    width: Annotated[int, typer.Option("--width")]
    height: Annotated[int, typer.Option("--height")] = 2


@with_groups
def shown(
    size: Size,
    name: str,
    running: Annotated[RunningOptions, Only(("seed",))],
    loud: Annotated[bool, typer.Option("--loud")] = False,
) -> None:
    """Show it."""
    seen.append((size, name, running, loud))


def test_a_group_stands_for_its_fields() -> None:
    parameters = inspect.signature(shown).parameters
    assert list(parameters) == ["width", "height", "name", "seed", "loud"]
    assert parameters["width"].default is inspect.Parameter.empty
    assert parameters["height"].default == 2
    assert shown.__doc__ == "Show it."
    shown(width=1, height=5, name="x", seed=3, loud=True)
    assert seen == [(Size(1, 5), "x", RunningOptions(seed=3), True)]


def test_how_something_is_run_has_an_option_for_each_of_the_librarys() -> None:
    options = {field.name for field in dataclasses.fields(RunningOptions)}
    assert options == {field.name for field in dataclasses.fields(RunOptions)} - {
        "progress",
        "seconds",  # limits are the solvers' own
        "part",  # of measuring alone
    }
    assert RunningOptions(seed=3, max_batches=2).run() == RunOptions(seed=3, max_batches=2)


@pytest.mark.parametrize("group", [RunningOptions, OutputsOptions])
def test_options_of_a_group_mean_the_same_in_every_command(group: type[Any]) -> None:
    names = {field.name for field in dataclasses.fields(group)}
    meanings: dict[str, set[tuple[Any, ...]]] = {}
    for command in typer.main.get_command(application).commands.values():  # type: ignore[attr-defined]
        for parameter in command.params:
            if parameter.name in names:
                meaning = (tuple(parameter.opts), parameter.help, parameter.default)
                meanings.setdefault(parameter.name, set()).add(meaning)
    assert {name: len(found) for name, found in meanings.items()} == dict.fromkeys(names, 1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["measure", "net.py:model", "--target-error", "0.1"], "--target-error of 'measure' is now --precision"),
        (["search", "t.json", "--limit", "5"], "--limit of 'search' is now --seconds"),
        (["refine", "t.json", "--confirm=0.5"], "--confirm of 'refine' is now --held-back"),
        (["compare", "t.json", "--model", "net.py:model"], "--model is no option of 'compare': use 'compete'"),
        (["compare", "t.json", "--evaluations", "5"], "--evaluations is no option of 'compare': use 'compete'"),
        (["solve", "t.json", "--limit", "5"], "No such option"),
    ],
)
def test_an_option_that_went_away_says_what_to_write(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert words in capsys.readouterr().err
