from __future__ import annotations

import io
import logging
import sys
import threading

import pytest
from rich.text import Text

from mckp_quant.cli import console
from mckp_quant.cli.console import warning_once


class Terminal(io.StringIO):
    """A terminal that tells when something is drawn on it."""

    def __init__(self) -> None:
        super().__init__()
        self.drawn = threading.Event()

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if "measuring" in text:
            self.drawn.set()
        return super().write(text)


def terminal(monkeypatch: pytest.MonkeyPatch, patience: float) -> Terminal:
    """Make stderr a terminal; not a fixture, because pytest changes stderr between a fixture and its test."""
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(console, "PATIENCE", patience)
    found = Terminal()
    monkeypatch.setattr(sys, "stderr", found)
    return found


def timers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]


def test_long_work_draws_a_bar_even_if_it_never_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch, patience=0.0)
    with console.progress("measuring"):
        assert screen.drawn.wait(timeout=30)


def test_bar_follows_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch, patience=0.0)
    with console.progress("measuring") as report:
        assert screen.drawn.wait(timeout=30)
        report(1, None)
        report(7, 7)
    assert "100%" in screen.getvalue()


def test_short_work_draws_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch, patience=3600.0)
    with console.progress("measuring") as report:
        report(1, 2)
    assert "measuring" not in screen.getvalue()
    assert not timers()


def test_bar_ends_with_an_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch, patience=0.0)

    def work() -> None:
        with console.progress("measuring"):
            assert screen.drawn.wait(timeout=30)
            raise RuntimeError("the work failed")

    with pytest.raises(RuntimeError, match="the work failed"):
        work()
    assert not timers()


def test_files_and_pipes_get_no_bar(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "PATIENCE", 0.0)
    with console.progress("measuring") as report:
        report(1, 2)
    assert capsys.readouterr() == ("", "")


class Log(Terminal):
    """A file that messages go into."""

    def isatty(self) -> bool:
        return False


def test_long_work_writes_a_line_into_a_log_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal(monkeypatch, patience=0.0)
    log = Log()
    monkeypatch.setattr(sys, "stderr", log)
    monkeypatch.setattr(console, "LINES_AFTER", (0.0, 3600.0))
    with console.progress("measuring"):
        assert log.drawn.wait(timeout=30)
    (line,) = log.getvalue().splitlines()
    assert line.startswith("measuring: ")
    assert line.endswith(" s so far")
    assert "writer" not in {thread.name for thread in threading.enumerate()}


def test_a_line_of_progress_says_what_is_left() -> None:
    assert console.progress_line("rounding", 3, 12, 30.0) == "rounding: 30 s so far, 3 of 12 steps, about 90 s left"
    assert console.progress_line("rounding", 0, 12, 30.0) == "rounding: 30 s so far"
    assert console.progress_line("rounding", 5, None, 7200.0) == "rounding: 2 h so far"


@pytest.mark.parametrize(("variable", "no_color"), [("NO_COLOR", False), ("", True)])
def test_a_bar_has_no_colours_where_none_are_wanted(
    monkeypatch: pytest.MonkeyPatch, variable: str, no_color: bool
) -> None:
    screen = terminal(monkeypatch, patience=0.0)
    if variable:
        monkeypatch.setenv(variable, "1")
    with console.talking(console.Talk(no_color=no_color)), console.progress("measuring") as report:
        assert screen.drawn.wait(timeout=30)
        report(7, 7)
    assert "\x1b[3" not in screen.getvalue()
    assert "\x1b[1;3" not in screen.getvalue()


def test_names_that_the_terminal_cannot_show_are_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    console.show(Text("Schicht-größe"))
    console.show_json({"layer": "größe", "loss": float("nan")})
    assert raw.getvalue().decode("ascii").splitlines() == [
        "Schicht-gr\\xf6\\xdfe",
        "{",
        ' "layer": "gr\\u00f6\\u00dfe",',
        ' "loss": null',
        "}",
    ]


def test_a_warning_is_printed_once_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    last = logging.lastResort
    assert last is not None
    for _ in range(2):
        with warning_once():
            for layer in ("a", "b", "a"):
                last.handle(logging.makeLogRecord({"msg": "layer %r", "args": (layer,), "levelno": logging.WARNING}))
    assert capsys.readouterr().err == "layer 'a'\nlayer 'b'\n" * 2
    assert not last.filters
