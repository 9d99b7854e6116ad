from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from mckp_quant.cli import console, main
from mckp_quant.cli.console import complain, note, progress
from mckp_quant.cli.groups.talking import with_talking
from mckp_quant.errors import InvalidInput

from ...drawn_tables import make_table

if TYPE_CHECKING:
    from pathlib import Path


def talk(wait: bool = False) -> None:
    note("a note")
    complain("an error")
    logging.getLogger("mckp_quant.somewhere").info("what goes on")


def test_quiet_leaves_notes_away_and_verbose_adds_what_is_logged(capsys: pytest.CaptureFixture[str]) -> None:
    command = with_talking(talk)
    said = {}
    for name in ("", "quiet", "verbose", "no_color"):
        command(**{each: each == name for each in ("quiet", "verbose", "no_color")})
        said[name] = capsys.readouterr().err.splitlines()
    assert said[""] == said["no_color"] == ["a note", "an error"]
    assert said["quiet"] == ["an error"]
    assert said["verbose"] == ["a note", "an error", "what goes on"]
    talk()
    assert capsys.readouterr().err.splitlines() == ["a note", "an error"]
    with pytest.raises(InvalidInput, match="--quiet and --verbose are both given: give one"):
        command(quiet=True, verbose=True, no_color=False)


def test_every_command_takes_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "table.json"
    make_table([[9.0, 3.0, 1.0], [5.0, 2.0, 1.0]]).save(path)
    solve = ["solve", str(path), "--budget", "weight_bytes=60%", "-o", str(tmp_path / "policy.json")]
    assert main([*solve, "-q"]) == 0
    assert capsys.readouterr().err == ""
    assert main([*solve, "--verbose", "--no-color"]) == 0
    err = capsys.readouterr().err
    assert "wrote " in err
    assert "value " in err  # the solver's own words
    assert main(["solve", str(path), "-q"]) == 2
    assert "--budget" in capsys.readouterr().err


def test_quiet_draws_no_progress_and_nothing_is_left_of_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(console, "LINES_AFTER", (0.0,))

    def work() -> None:
        with progress("working") as report:
            report(1, 2)

    with_talking(work)(quiet=True, verbose=False, no_color=False)
    assert capsys.readouterr().err == ""
