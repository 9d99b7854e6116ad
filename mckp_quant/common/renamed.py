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


class RenamedAttribute:
    """An attribute that has another name now; reading the old one raises AttributeError.

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
