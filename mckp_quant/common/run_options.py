"""How something long is run: seed, checkpoint, cache, memory, batches, progress; in one object for every function."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from ..errors import InvalidInput
from .amounts import bytes_of
from .checks import check_count, check_seconds, check_seed

if TYPE_CHECKING:
    import os

# Called now and then with the steps done and their total, which is None where it is not known.
Progress: TypeAlias = Callable[[int, int | None], None]


@dataclass(frozen=True)
class RunOptions:
    """How something long is run. A function refuses, by name, the options that mean nothing to it.

    Attributes
    ----------
    seed
        The seed of all random draws: the same seed and inputs give the same numbers.
    checkpoint
        A file that is written as the run goes on. Where it exists, what it holds is not computed again.
    cache
        A folder in which what was searched to round weights is kept, for measuring the same network again.
    memory_limit
        How many bytes may be in memory, beside Python and its packages, as a number or such as ``"500MB"``: what is
        more is computed again when it is needed, and what needs more in any case is refused before it begins.
    max_batches
        How many batches are read at most; None for all.
    seconds
        Wall time after which to stop with the best so far; None for no limit.
    progress
        Called with the steps done and their total, or None where that is not known.

    Raises
    ------
    InvalidInput
        When a value cannot be used.
    """

    seed: int = 0
    checkpoint: str | os.PathLike[str] | None = None
    cache: str | os.PathLike[str] | None = None
    memory_limit: int | str | None = None
    max_batches: int | None = None
    seconds: float | None = None
    progress: Progress | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be used."""
        check_seed(self.seed)
        if self.memory_limit is not None:
            bytes_of("memory_limit", self.memory_limit)
        if self.max_batches is not None:
            check_count("max_batches", self.max_batches, 1)
        if self.seconds is not None:
            check_seconds(self.seconds)
        if self.progress is not None and not callable(self.progress):
            raise InvalidInput(
                f"progress is {self.progress!r}: give a function of the steps done and their total, or None"
            )

    def only(self, function: str, *names: str) -> None:
        """Refuse options that a function cannot honour.

        Parameters
        ----------
        function
            The function's name, for the message.
        names
            The options that it honours.

        Raises
        ------
        InvalidInput
            With the first other option that was given.
        """
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name not in names and value != field.default:
                raise InvalidInput(
                    f"RunOptions({field.name}={value!r}) means nothing to {function}(), which takes "
                    f"{', '.join(names)}: leave it out"
                )

    def report(self, done: float, total: float | None = None) -> None:
        """Tell `progress`, where there is one, how many steps are done."""
        if self.progress is not None:
            self.progress(int(done), None if total is None or total == float("inf") else int(total))
