"""Groups of options that several commands share: one dataclass each, which a command takes as one parameter."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeAlias, get_args, get_origin, get_type_hints

Command: TypeAlias = Callable[..., None]

# They say where results go and how it is run, and change no result.
_NO_INPUTS = {"output", "force", "json", "plot", "csv", "checkpoint", "cache", "memory_limit"}
_READ = 2**26  # bytes; of larger files size and time are compared


@dataclass(frozen=True)
class Only:
    """Marks a group of which a command takes some options only: the others do not exist there.

    Attributes
    ----------
    fields
        The names of the fields that it takes.
    """

    fields: tuple[str, ...]


@dataclass(frozen=True)
class Inputs:
    """All that a command was asked, for a command with a parameter of this type: no option of its own.

    Attributes
    ----------
    command
        Its name.
    options
        What the user gave, by parameter.
    """

    command: str
    options: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """Thirty-two hexadecimal digits of the options and of the files that they name, but for where results go."""
        content = hashlib.sha256(self.command.encode())
        for name, value in sorted(self.options.items()):
            if name not in _NO_INPUTS:
                content.update(f"\0{name}\0".encode())
                for part in value if isinstance(value, list | tuple) else [value]:
                    _describe(content, part)
        return content.hexdigest()[:32]


def _describe(content: hashlib._Hash, value: object) -> None:
    """Add a value and what lies at the path that it names, alone, as NAME=FILE, FILE.py:function or hf:FOLDER."""
    text = str(value)
    content.update(f"{text}\0".encode("utf-8", "surrogatepass"))
    if not isinstance(value, str | Path):
        return
    for place in dict.fromkeys([text, text.partition("=")[2], text.rpartition(":")[0], text.partition(":")[2]]):
        try:
            path = Path(place)
            if not place or not path.exists():
                continue
            files = sorted(each for each in path.iterdir() if each.is_file()) if path.is_dir() else [path]
            for file in files:
                _add_file(content, file)
        except (OSError, ValueError):  # no path, or one that cannot be read: whoever needs it will say so
            continue


def _add_file(content: hashlib._Hash, file: Path) -> None:
    facts = file.stat()
    content.update(f"{file.name} {facts.st_size}\0".encode("utf-8", "surrogateescape"))
    if not file.is_file() or facts.st_size > _READ:
        content.update(str(facts.st_mtime_ns).encode())
    else:
        content.update(file.read_bytes())


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
    wanted: list[str] = []
    hints = get_type_hints(command, include_extras=True)
    for parameter in inspect.signature(command).parameters.values():
        if hints[parameter.name] is Inputs:
            wanted.append(parameter.name)
            continue
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
        inputs = dict.fromkeys(wanted, Inputs(command.__name__, dict(given)))
        made = {
            name: group(**{field: given.pop(field) for field in fields}) for name, (group, fields) in groups.items()
        }
        command(**given, **made, **inputs)

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
