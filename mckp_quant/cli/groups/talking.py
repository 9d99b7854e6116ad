"""How much a command says while it runs: the options that every command has."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from ...errors import InvalidInput
from ..console import Talk, talking

if TYPE_CHECKING:
    from ..option_groups import Command

PANEL = "What it says"

QuietOption = Annotated[
    bool,
    typer.Option("--quiet", "-q", rich_help_panel=PANEL, help="Only results, warnings and errors; no progress."),
]
VerboseOption = Annotated[
    bool,
    typer.Option(
        "--verbose",
        "-v",
        rich_help_panel=PANEL,
        help="Also what goes on inside, such as each better policy.",
    ),
]
NoColorOption = Annotated[
    bool, typer.Option("--no-color", rich_help_panel=PANEL, help="No colours, as with NO_COLOR in the environment.")
]


def with_talking(command: Command) -> Command:
    """Give a command the options that say how much it says.

    Parameters
    ----------
    command
        A command of typer, whose parameters are options and arguments.

    Returns
    -------
    talkative
        The same with ``--quiet``, ``--verbose`` and ``--no-color``, as typer is to see it.
    """
    hints = get_type_hints(command, include_extras=True)
    parameters = [
        each.replace(annotation=hints[each.name], kind=inspect.Parameter.KEYWORD_ONLY)
        for each in inspect.signature(command).parameters.values()
    ]
    for name, annotation in (("quiet", QuietOption), ("verbose", VerboseOption), ("no_color", NoColorOption)):
        parameters.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=annotation))

    def talkative(*, quiet: bool, verbose: bool, no_color: bool, **given: Any) -> None:
        if quiet and verbose:
            raise InvalidInput("--quiet and --verbose are both given: give one")
        with talking(Talk(quiet=quiet, verbose=verbose, no_color=no_color)):
            command(**given)

    talkative.__name__, talkative.__doc__, talkative.__module__ = command.__name__, command.__doc__, command.__module__
    talkative.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    talkative.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return talkative
