"""Names that went away: using one raises an error that says the new one."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, NoReturn, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

# The keywords of functions that run a network, with what to write instead.
OUTPUTS = {
    "output": "outputs=Outputs(take=...)",
    "likelihood": "outputs=Outputs(likelihood=...)",
    "class_dim": "outputs=Outputs(class_dim=...)",
}

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C")


class RenamedAttribute:
    """An attribute that has another name now; reading the old one raises AttributeError.

    It stands in a class without an annotation, so that a dataclass does not take it for a field.

    Parameters
    ----------
    new
        The attribute's name today.
    """

    def __init__(self, new: str) -> None:
        self._new = new

    def __set_name__(self, owner: type, name: str) -> None:
        """Learn which class this is in, and under which old name."""
        self._owner, self._old = owner.__name__, name

    def __get__(self, instance: object, owner: type | None = None) -> NoReturn:
        """Say the new name."""
        raise AttributeError(f"{self._owner}.{self._old} is now {self._owner}.{self._new}")


def run_keywords(*names: str) -> dict[str, str]:
    """The keywords that are fields of `RunOptions` now, with what to write instead."""
    return {name: f"run=RunOptions({name}=...)" for name in names}


def renamed_keywords(**today: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Refuse keyword arguments that have another name now, with that name.

    Parameters
    ----------
    today
        From the old keyword to what to write instead, such as ``target="precision=..."``.

    Returns
    -------
    decorate
        Adds the check to a function; what it raises is a TypeError, as for any keyword that does not exist.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        called = function.__qualname__.removesuffix(".__init__")  # a class is called by its own name

        @functools.wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            for old in today:
                if old in kwargs:
                    raise TypeError(f"{called}() takes no {old}= any more: write {today[old]}")
            return function(*args, **kwargs)

        return checked

    return decorate


def renamed_fields(**today: str) -> Callable[[type[C]], type[C]]:
    """Refuse the old names of a dataclass's fields, as attributes and as keywords, with the new ones.

    Parameters
    ----------
    today
        From the old name to the field's name today, such as ``weights="batch_sizes"``.

    Returns
    -------
    decorate
        Adds both to a dataclass; it stands above ``@dataclass``.
    """

    def decorate(cls: type[C]) -> type[C]:
        for old, new in today.items():
            attribute = RenamedAttribute(new)
            attribute.__set_name__(cls, old)
            setattr(cls, old, attribute)
        refuse = renamed_keywords(**{old: f"{new}=..." for old, new in today.items()})
        setattr(cls, "__init__", refuse(cls.__init__))  # noqa: B010  a plain assignment is an error for mypy
        return cls

    return decorate
