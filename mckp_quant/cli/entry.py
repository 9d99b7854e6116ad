"""The application: its commands, and how errors become one line and an exit code."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from .._version import __version__
from ..common.packages import PackageMissing
from ..errors import InvalidInput
from ..export import ExportMismatch
from ..solvers import InvalidProblem, NoSolution, SolverFailure
from .console import note
from .exporting import audit, export
from .improving import refine, stability
from .measuring import demo, measure, validate
from .searching import search
from .solving import compare, solve

if TYPE_CHECKING:
    from collections.abc import Sequence

DONE, FAILED, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 130

# Typer brings its own copy of click since 0.22 or so; the error that both raise is the base of this public one.
_UsageError: type[Exception] = typer.BadParameter.__bases__[0]

application = typer.Typer(
    name="mckp-quant",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
_SHORT = {
    "demo": "Do all of it with a small network that comes along.",
    "measure": "Measure how much each layer suffers from each format.",
    "solve": "Choose a format for every layer, with a proof.",
    "validate": "Run the network under a policy: measured loss beside predicted.",
    "compare": "Solvers side by side on a table, or methods on a network.",
    "stability": "Say how sure a table is of its policy.",
    "refine": "Improve a policy by running the network.",
    "search": "Search for a policy by running the network under many.",
    "export": "Write a policy in the form of a toolchain, and read it back.",
    "audit": "Compare an existing artefact with the optimum of its size.",
}
for command in (demo, measure, solve, validate, compare, stability, refine, search, export, audit):
    application.command(short_help=_SHORT[command.__name__])(command)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mckp-quant {__version__}")
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
        0 where it is done, 1 where there is no solution or a check failed, 2 where the user's input is wrong.
    """
    try:
        given = sys.argv[1:] if arguments is None else list(arguments)
        code = application(given or ["--help"], prog_name="mckp-quant", standalone_mode=False)
    except (NoSolution, SolverFailure, ExportMismatch) as error:
        return _say(error, FAILED)
    except (InvalidInput, InvalidProblem, PackageMissing, OSError) as error:
        return _say(error, WRONG_INPUT)
    except _UsageError as error:
        # format_message names the option; it is not part of the public type.
        words = getattr(error, "format_message", error.__str__)()
        return _say(words, WRONG_INPUT)
    except (KeyboardInterrupt, typer.Abort):
        return _say("interrupted", INTERRUPTED)
    if code == INTERRUPTED:  # newer typers turn Ctrl-C into this code and say nothing
        return _say("interrupted", INTERRUPTED)
    return code if isinstance(code, int) else DONE


def _say(error: object, code: int) -> int:
    note("mckp-quant: " + " ".join(str(error).split()))
    return code
