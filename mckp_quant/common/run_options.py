"""How something long is run: seed, checkpoint, cache, memory, batches, progress; in one object for every function."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from ..errors import InvalidInput
from .amounts import bytes_of
from .checks import check_count, check_seconds, check_seed

if TYPE_CHECKING:
    import os

_SHARE = re.compile(r"([1-9]\d*)/([1-9]\d*)")
# Called now and then with the steps done and their total, which is None where it is not known.
Progress: TypeAlias = Callable[[int, int | None], None]


RANKS = "ranks"


@dataclass(frozen=True)
class Share:
    """Which of the batches one of several processes reads: every `of`-th, beginning with its own number.

    Attributes
    ----------
    number
        Of the process, counted from 1.
    of
        How many processes there are.

    Raises
    ------
    InvalidInput
        When there is no such process.
    """

    number: int = 1
    of: int = 1

    def __post_init__(self) -> None:
        """Refuse a share that does not exist."""
        if not 1 <= self.number <= self.of:
            raise InvalidInput(f"part is '{self.number}/{self.of}': parts of {self.of} are 1/{self.of} and so on")

    @classmethod
    def read(cls, text: str) -> Share:
        """The share that ``"2/8"`` names; raises InvalidInput where it names none."""
        match = _SHARE.fullmatch(str(text))
        if match is None:
            raise InvalidInput(f"part is {text!r}: write which part of how many, such as '2/8'")
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        """As it is read."""
        return f"{self.number}/{self.of}"

    def takes(self, position: int) -> bool:
        """Whether the batch at this position, counted from 0, is its own."""
        return position % self.of == self.number - 1

    def count(self, batches: int) -> int:
        """How many of the first so many batches are its own."""
        return len(range(self.number - 1, batches, self.of))


ALL = Share()


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
    part
        Which part of the batches is read, such as ``"2/8"``: the second of eight processes reads every eighth batch,
        beginning with the second. ``"ranks"`` takes rank and number of the processes from `torch.distributed`, which
        has to be initialised. None for all.

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
    part: str | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be used."""
        check_seed(self.seed)
        if self.memory_limit is not None:
            bytes_of("memory_limit", self.memory_limit)
        if self.max_batches is not None:
            check_count("max_batches", self.max_batches, 1)
        if self.seconds is not None:
            check_seconds(self.seconds)
        if self.part is not None and self.part != RANKS:
            Share.read(self.part)
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
