"""Groups of options that several commands share: one dataclass each, which a command takes as one parameter."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias, get_args, get_origin, get_type_hints

Command: TypeAlias = Callable[..., None]


@dataclass(frozen=True)
class Only:
    """Marks a group of which a command takes some options only: the others do not exist there.

    Attributes
    ----------
    fields
        The names of the fields that it takes.
    """

    fields: tuple[str, ...]


def with_groups(command: Command) -> Command:
    """Give a command the options of its groups.

    Parameters
    ----------
    command
        A command of typer. A parameter whose type is a dataclass, such as ``asked: RequestOptions``, stands for the
        fields of that dataclass; with ``Annotated[RunningOptions, Only(("seed",))]`` for some of them.

    Returns
    -------
    spread
        The command as typer is to see it: every field is a parameter. The groups are made when it is called.
    """
    groups: dict[str, tuple[type[Any], list[str]]] = {}
    parameters: list[inspect.Parameter] = []
    hints = get_type_hints(command, include_extras=True)
    for parameter in inspect.signature(command).parameters.values():
        group, only = _group(hints[parameter.name])
        if group is None:
            parameters.append(_keyword(parameter.name, hints[parameter.name], parameter.default))
            continue
        types = get_type_hints(group, include_extras=True)
        fields = [each for each in dataclasses.fields(group) if only is None or each.name in only.fields]
        groups[parameter.name] = (group, [each.name for each in fields])
        for each in fields:
            default = inspect.Parameter.empty if each.default is dataclasses.MISSING else each.default
            parameters.append(_keyword(each.name, types[each.name], default))

    def spread(**given: Any) -> None:
        made = {
            name: group(**{field: given.pop(field) for field in fields}) for name, (group, fields) in groups.items()
        }
        command(**given, **made)

    spread.__name__, spread.__doc__, spread.__module__ = command.__name__, command.__doc__, command.__module__
    spread.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    spread.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return spread


def _group(hint: Any) -> tuple[type[Any] | None, Only | None]:
    """The dataclass that a type is, if it is one, and which of its fields are wanted."""
    only = None
    if get_origin(hint) is Annotated:
        hint, *marks = get_args(hint)
        only = next((mark for mark in marks if isinstance(mark, Only)), None)
    return (hint, only) if isinstance(hint, type) and dataclasses.is_dataclass(hint) else (None, None)


def _keyword(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    # By keyword only: then those without a default may stand behind those with one.
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
