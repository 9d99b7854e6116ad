"""What the commands of the benchmarks have in common: options, checks of what was given, messages and exit codes."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


class WrongInput(Exception):
    """What the user asked for cannot be done; the message names the option, its value and what to do."""


def say(text: str) -> None:
    """Print a line on the error stream, so that what is printed can be piped."""
    print(text, file=sys.stderr, flush=True)


def require_file(option: str, path: Path, command: str) -> None:
    """Raise `WrongInput` where there is no such file, and say which command makes it."""
    if not path.is_file():
        raise WrongInput(f"{option} {path}: there is no such file; make it with: python -m {command}")


class Command:
    """The command of one benchmark: its options are declared one by one, then it runs.

    Parameters
    ----------
    document
        What ``--help`` prints first: the docstring of the module.
    actions
        What the first argument may be, where there is something to choose; it becomes ``options.action``.
    """

    def __init__(self, document: str | None, actions: Sequence[str] = ()) -> None:
        self._parser = argparse.ArgumentParser(
            description=document, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        self._checks: list[Callable[[argparse.Namespace], None]] = []
        if actions:
            self._parser.add_argument("action", choices=actions)

    def whole(self, option: str, default: int | None, help: str = "", at_least: int = 1) -> None:
        """Add an option that takes a whole number."""
        self._parser.add_argument(option, type=int, default=default, metavar="N", help=_with_default(help, default))
        self._check(option, lambda value: value >= at_least, f"it must be at least {at_least}")

    def seconds(self, option: str, default: float, help: str) -> None:
        """Add an option that takes a time limit."""
        self._parser.add_argument(option, type=float, default=default, metavar="S", help=_with_default(help, default))
        self._check(option, lambda value: value > 0, "it must be above 0")

    def text(self, option: str, default: str | None = "", help: str = "", metavar: str = "TEXT") -> None:
        """Add an option that takes a text."""
        self._parser.add_argument(option, default=default, metavar=metavar, help=_with_default(help, default))

    def several(
        self, option: str, kind: Callable[[str], object], default: str | None, help: str = "", metavar: str = "N,N"
    ) -> None:
        """Add an option that takes values with commas between them; it becomes a list, or None without a default."""

        def parts(text: str) -> list[object]:
            return [kind(part) for part in text.split(",") if part]

        parts.__name__ = "list"  # what argparse calls the type of a value that it refuses
        self._parser.add_argument(
            option, type=parts, default=default, metavar=metavar, help=_with_default(help, default)
        )

    def choice(self, option: str, choices: Iterable[str], default: str, help: str = "") -> None:
        """Add an option that takes one of a few words."""
        self._parser.add_argument(option, choices=list(choices), default=default, help=_with_default(help, default))

    def flag(self, option: str, help: str) -> None:
        """Add an option that takes nothing."""
        self._parser.add_argument(option, action="store_true", help=help)

    def file(self, option: str, default: Path | None = None, help: str = "") -> None:
        """Add an option that takes a file, which need not exist."""
        self._parser.add_argument(option, type=Path, default=default, metavar="FILE", help=help)

    def files(self, option: str, help: str) -> None:
        """Add an option that takes several files; none by default."""
        self._parser.add_argument(option, type=Path, nargs="+", default=[], metavar="FILE", help=help)

    def folder(self, option: str, default: Path | None = None, help: str = "", exists: bool = False) -> None:
        """Add an option that takes a folder; with `exists` it is refused where there is none."""
        self._parser.add_argument(option, type=Path, default=default, metavar="FOLDER", help=help)
        if exists:
            self._check(option, lambda value: value.is_dir(), "there is no such folder")

    def run(self, arguments: Sequence[str] | None, work: Callable[[argparse.Namespace], int]) -> int:
        """Read the arguments, check them and do the work.

        Parameters
        ----------
        arguments
            What follows the name of the command; None: what this process was started with.
        work
            Does what the options ask for, and gives the exit code: 0, or 1 where a check failed.

        Returns
        -------
        code
            That of `work`; 2 where `WrongInput` was raised, whose message goes to the error stream.

        Raises
        ------
        SystemExit
            For ``--help``, and, with code 2, for arguments that cannot be read.
        """
        options = self._parser.parse_args(arguments)
        try:
            for check in self._checks:
                check(options)
            return work(options)
        except WrongInput as error:
            say(str(error))
            return 2

    def _check(self, option: str, good: Callable[..., bool], message: str) -> None:
        name = option.removeprefix("--").replace("-", "_")

        def check(options: argparse.Namespace) -> None:
            value = getattr(options, name)
            if value is not None and not good(value):
                raise WrongInput(f"{option} {value}: {message}")

        self._checks.append(check)


def _with_default(help: str, default: object) -> str:
    """The help, with the default where there is one to tell."""
    if default is None or default == "":
        return help
    return f"{help} (default: {default})".lstrip()
