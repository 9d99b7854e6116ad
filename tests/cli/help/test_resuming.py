from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mckp_quant.cli import main
from mckp_quant.cli.help.resuming import CHECKPOINT, KEEP, WITH_CHECKPOINT, after_interrupt
from mckp_quant.pipeline.recipes.recipe import Recipe

from .test_texts import COMMANDS

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_commands_that_go_on_say_so_with_the_command_itself() -> None:
    assert after_interrupt(["run", "my recipe.toml", "-o", "out"]) == (
        "interrupted: what is done is kept, go on with the same command: mckp-quant run 'my recipe.toml' -o out"
    )
    assert after_interrupt(["measure", "net.py:model", "--checkpoint=c"]).endswith(
        "measure net.py:model --checkpoint=c"
    )
    assert after_interrupt(["run", "recipe.toml", "--force"]).endswith("go on with the same command without --force")


def test_commands_that_keep_nothing_do_not_say_so() -> None:
    assert after_interrupt(["solve", "table.json"]) == after_interrupt([]) == "interrupted"
    assert after_interrupt(["search", "table.json"]) == (
        "interrupted: nothing is kept; with --checkpoint FILE the same command goes on where it was"
    )


def test_they_are_the_commands_with_that_option() -> None:
    having = {
        name for name, command in COMMANDS.items() if any(CHECKPOINT in parameter.opts for parameter in command.params)
    }
    assert having == set(WITH_CHECKPOINT)
    assert set(KEEP) <= set(COMMANDS) - having


def test_an_interrupted_run_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def interrupt(path: Any) -> Recipe:
        raise KeyboardInterrupt

    monkeypatch.setattr(Recipe, "load", interrupt)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.toml").write_text("")
    assert main(["run", "recipe.toml"]) == 130
    assert capsys.readouterr().err == (
        "mckp-quant: interrupted: what is done is kept, go on with the same command: mckp-quant run recipe.toml\n"
    )
