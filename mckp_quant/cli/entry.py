"""The application: its commands, and how errors become one line and an exit code."""

from __future__ import annotations

import contextlib
import re
import signal
import sys
import threading
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from .._version import __version__
from ..common.packages import PackageMissing
from ..errors import InvalidInput
from ..export import ExportMismatch
from ..solvers import NoSolution, SolverFailure
from .benchmarks.benching import bench
from .console import columns, complain, warning_once
from .demonstration import demo
from .doctor.examining import doctor
from .exporting import audit, export
from .groups.talking import with_talking
from .help.resuming import after_interrupt
from .help.texts import EXAMPLES, SHORT, as_typed
from .improving import confirm, finish, refine, stability
from .judging.validating import validate
from .measuring import measure, round
from .parts.merging import merge
from .recipes.running import run
from .recipes.writing import recipe
from .reports.reporting import report
from .searching import compete, search
from .solving import compare, solve
from .timing.clocking import time
from .trade_offs.on_networks import smallest
from .trade_offs.on_tables import explain, front, k_best

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DONE, FAILED, WRONG_INPUT, INTERRUPTED, TERMINATED = 0, 1, 2, 130, 143

# Typer brings its own copy of click since 0.22 or so; the error that both raise is the base of this public one.
_UsageError: type[Exception] = typer.BadParameter.__bases__[0]

application = typer.Typer(
    name="mckp-quant",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
# What typers old and new say of a value, in the names of Python's types and in those of a parser.
_PLAIN = (
    (
        re.compile(r"('[^']*' is not a valid int(eger)?( range)?|Input should be a valid integer.*)\.?"),
        "give a whole number",
    ),
    (re.compile(r"('[^']*' is not a valid float( range)?|Input should be a valid number.*)\.?"), "give a number"),
    (re.compile(r"('[^']*' is not a valid bool(ean)?|Input should be a valid boolean.*)\.?"), "give true or false"),
)
_SUBJECT = re.compile(r"(\w+) is (?=['\d-]|nan|inf|None)")  # of an error about one argument
_KEYWORD = re.compile(r"(?<![\w'\"-])([a-z_]+)=(?:'([\w./:-]*)'|(?=[\s,;:.)]|$))")  # method='measured_kl', layers=
_NUMBER = re.compile(r"\[Errno -?\d+\] ")
_LISTED = re.compile(r"\n- ")  # of errors, a list keeps its lines; whatever else is in one becomes one line
_BRACES = re.compile(r"\{(.+)\}")
_LIST_TYPE = re.compile(r"<list\[(\w+)\]>")
# Options that have another name now, or are another command's.
_RENAMED = {
    "measure": {"--target-error": "--precision"},
    "search": {"--limit": "--seconds"},
    "refine": {"--confirm": "--held-back"},
}
_ELSEWHERE = {
    "compare": {
        option: "'compete', which sets methods side by side on a network"
        for option in ("--model", "--data", "--calibration", "--held-out", "--methods", "--evaluations", "--likelihood")
    }
}


class _Command(TyperCommand):
    """A command whose help shows options by their groups, and that knows the former names of its options."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Name the arguments without the braces that newer typers put around them: nobody types those."""
        pieces = (_BRACES.sub(r"\1", piece) for piece in super().collect_usage_pieces(ctx))
        return [piece.replace("......", "...") for piece in pieces]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the options, one section a group."""
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            kind = "Arguments" if parameter.param_type_name == "argument" else "Options"
            if record is not None:
                name = _LIST_TYPE.sub(r"<\1>", record[0])
                sections.setdefault(getattr(parameter, "rich_help_panel", None) or kind, []).append((name, record[1]))
        for title, records in sections.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the examples as one types them: lines that are too long go on behind a backslash."""
        if self.name in EXAMPLES:
            with formatter.section("Examples"):
                formatter.write("".join(f"  {line}\n" for line in as_typed(EXAMPLES[self.name], columns() - 2)))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the command line; raises InvalidInput, with what to write now, for a former option."""
        try:
            return super().parse_args(ctx, args)
        except _UsageError as error:
            option, command = getattr(error, "option_name", ""), self.name or ""
            if option in _RENAMED.get(command, {}):
                raise InvalidInput(f"{option} of '{command}' is now {_RENAMED[command][option]}") from error
            if option in _ELSEWHERE.get(command, {}):
                raise InvalidInput(
                    f"{option} is no option of '{command}': use {_ELSEWHERE[command][option]}"
                ) from error
            raise


for command in (
    *(
        demo,
        recipe,
        run,
        round,
        measure,
        merge,
        time,
        solve,
        front,
        smallest,
        explain,
        k_best,
        validate,
        compare,
        bench,
    ),
    *(stability, confirm, refine, finish, search, compete, export, report, audit, doctor),
):
    name = command.__name__.replace("_", "-")
    application.command(name, short_help=SHORT[name], cls=_Command)(with_talking(command))


def _print_version(wanted: bool) -> None:
    if wanted:
        from ..solvers import is_compiled

        kernels = "compiled kernels" if is_compiled() else "kernels in NumPy"
        typer.echo(f"mckp-quant {__version__} ({kernels})")
        raise typer.Exit


@application.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Mixed-precision quantisation as mathematical programming: which layer gets how many bits, with a certificate."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments
        The arguments after the program's name; by default those of the process.

    Returns
    -------
    code
        0 where it is done, 1 where there is no solution or a check failed, 2 where the user's input is wrong, 130 where
        Ctrl-C interrupted it, 143 where SIGTERM did.
    """
    with _terminating_as_interrupted() as terminated, warning_once():
        code = _run(arguments)
    return TERMINATED if terminated else code


@contextlib.contextmanager
def _terminating_as_interrupted() -> Iterator[list[int]]:
    """Let SIGTERM do what Ctrl-C does, so that state is kept and nothing is left lying about; lists the signals."""
    heard: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield heard
        return

    def interrupt(number: int, frame: object) -> None:
        heard.append(number)
        if callable(signal.getsignal(signal.SIGINT)):
            signal.raise_signal(signal.SIGINT)
        else:  # ignored, as in the background of a shell
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield heard
    finally:
        signal.signal(signal.SIGTERM, before)


def _run(arguments: Sequence[str] | None) -> int:
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        code = application(given or ["--help"], prog_name="mckp-quant", standalone_mode=False)
    except (NoSolution, SolverFailure, ExportMismatch) as error:
        return _say(error, FAILED)
    except (InvalidInput, PackageMissing) as error:
        return _say(in_options(str(error)), WRONG_INPUT)
    except OSError as error:
        return _say(error.strerror if error.strerror and error.filename is None else error, WRONG_INPUT)
    except _UsageError as error:
        # format_message names the option; it is not part of the public type.
        words = getattr(error, "format_message", error.__str__)()
        for python, plain in _PLAIN:
            words = python.sub(plain, words)
        return _say(_leading_on(words, given), WRONG_INPUT)
    except (KeyboardInterrupt, typer.Abort):
        return _say(after_interrupt(given), INTERRUPTED)
    if code == INTERRUPTED:  # newer typers turn Ctrl-C into this code and say nothing
        return _say(after_interrupt(given), INTERRUPTED)
    return code if isinstance(code, int) else DONE


def _leading_on(words: str, given: Sequence[str]) -> str:
    """What the parser says of a command line, with what to type where it says only what is missing."""
    if words.startswith("No such command") and not words.endswith("?"):
        return (
            f"{words.removesuffix('.')}: 'mckp-quant --help' lists those there are, 'mckp-quant run' does most of them"
        )
    examples = EXAMPLES.get(given[0], ()) if given else ()
    if words.startswith("Missing") and words.endswith(".") and examples:
        return f"{words.removesuffix('.')}: type it as in: {examples[0]}"
    return words


def in_options(words: str) -> str:
    """An error of the library as the command line says it: ``--max-batches`` for ``max_batches``, and so on."""
    commands: Any = typer.main.get_command(application)
    names: dict[str, str] = {}
    for each in commands.commands.values():
        for parameter in each.params:
            option = max(parameter.opts, key=len)
            if option.startswith("--"):
                names.setdefault(parameter.name, option)
    first = _SUBJECT.match(words)
    if first is not None and first[1] in names:
        words = names[first[1]] + words[first.end(1) :]
    return _KEYWORD.sub(
        lambda found: " ".join(filter(None, (names[found[1]], found[2]))) if found[1] in names else found[0], words
    )


def _say(error: object, code: int) -> int:
    # The operating system's words without Python's number for them, which stand in errors of files.
    words = _NUMBER.sub("", str(error))
    lines = (" ".join(line.split()) for line in _LISTED.split(words))
    complain("mckp-quant: " + "\n- ".join(line for line in lines if line))
    return code
