"""Measures genomes for a search: each once, within the limits; and keeps the best."""

from __future__ import annotations

import hashlib
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..common.checks import check_least
from ..common.documents import check_seal, entries, field, read_document, sealed, write_document
from ..common.files import readable
from ..common.run_options import RunOptions
from ..errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..policy.policy import Policy
    from .space import Genome, Space

KIND = "search"
VERSION = 1
_SAVE_EVERY = 5.0  # seconds between two writings of a checkpoint
_AGREES = 1e-4  # relative difference within which a fitness that was read from a checkpoint is the one measured now


class Spent(Exception):
    """The limit on evaluations or seconds is reached; whoever drives the search catches it and keeps the best."""


@dataclass(frozen=True)
class Level:
    """One way to judge a policy: a fitness, and what share of a whole evaluation it costs.

    Attributes
    ----------
    fitness
        From a policy to a number; lower is better.
    share
        Of a pass of the network over all calibration data.
    """

    fitness: Callable[[Policy], float]
    share: float = 1.0


class Objective:
    """The fitness of genomes, measured once each.

    Parameters
    ----------
    space
        The genomes.
    levels
        From the cheapest judgement to the one that counts.
    evaluations
        How many whole evaluations may be made; what stands in a checkpoint counts as made.
    settings
        Everything that the numbers and their order depend on; a checkpoint with other settings is refused.
    run
        Progress, in evaluations; the wall time that they may take, in seconds, where the time before a checkpoint was
        read does not count; and a checkpoint: a file that keeps what was measured, so that a search that was
        stopped goes the same way again without measuring anew.

    Attributes
    ----------
    spent
        Whole evaluations made.
    history
        For each improvement the evaluations made until then, and the fitness.

    Raises
    ------
    InvalidInput
        When a limit makes no sense, or the checkpoint is damaged or of another search.
    """

    def __init__(
        self,
        space: Space,
        levels: Sequence[Level],
        *,
        evaluations: float = math.inf,
        settings: str = "",
        run: RunOptions = RunOptions(),
    ) -> None:
        check_least("evaluations", evaluations, 1)
        self.spent = 0.0
        self.history: list[tuple[float, float]] = []
        self._space, self._levels = space, tuple(levels)
        self._evaluations = evaluations
        self._ends = time.monotonic() + (math.inf if run.seconds is None else run.seconds)
        self._known: dict[tuple[int, Genome], float] = {}
        self._asked: set[tuple[int, Genome]] = set()
        self._best: Genome | None = None
        self._run = run
        self._checkpoint = None if run.checkpoint is None else Path(run.checkpoint)
        self._saved = time.monotonic()
        self._fingerprint = hashlib.sha256(settings.encode()).hexdigest()
        self._unchecked = False
        if self._checkpoint is not None and self._checkpoint.exists():
            self._read(self._checkpoint)

    def __call__(self, genome: Genome, level: int = -1) -> float:
        """The fitness of a genome, lower is better; infinity where the network overflows.

        Parameters
        ----------
        genome
            Within the budgets.
        level
            Which judgement; the last is the one that counts.

        Returns
        -------
        fitness
            The number; the same genome is measured once.

        Raises
        ------
        InvalidInput
            When the genome exceeds a budget, or the fitness is not a number.
        Spent
            When a limit is reached before it could be measured.
        """
        which = level % len(self._levels)
        key = which, genome
        if key not in self._asked:
            self._pay(key)
            self._asked.add(key)
            self._note(which, genome)
        return self._known[key]

    @property
    def best(self) -> tuple[Genome, float]:
        """The best genome that the last level has judged, and its fitness; raises InvalidInput before there is one."""
        if self._best is None:
            raise InvalidInput("the search ended before it had judged a policy: allow it more evaluations or seconds")
        return self._best, self._known[len(self._levels) - 1, self._best]

    def save(self) -> None:
        """Write the checkpoint, if there is one, whole or not at all."""
        if self._checkpoint is None:
            return
        rows = [
            [which, list(genome), "inf" if math.isinf(fitness) else fitness]
            for (which, genome), fitness in self._known.items()
        ]
        write_document(self._checkpoint, KIND, VERSION, sealed({"fingerprint": self._fingerprint, "fitness": rows}))
        self._saved = time.monotonic()

    def _pay(self, key: tuple[int, Genome]) -> None:
        which, genome = key
        level = self._levels[which]
        # Shares such as 1/16 add up exactly; others may exceed the limit by rounding.
        if self.spent + level.share > self._evaluations * (1 + 1e-12):
            raise Spent("evaluations")
        if not self._space.fits(genome):
            raise InvalidInput(
                f"the search tries a policy that takes {self._space.cost(genome)} of the budgets "
                f"{self._space.budget}: repair it first"
            )
        if key not in self._known or self._unchecked:
            if time.monotonic() > self._ends:
                raise Spent("seconds")
            self._measure(key, level)
        self.spent += level.share
        self._run.report(self.spent, self._evaluations)

    def _measure(self, key: tuple[int, Genome], level: Level) -> None:
        fitness = float(level.fitness(self._space.policy(key[1])))
        if math.isnan(fitness):
            raise InvalidInput("the fitness of a policy is nan: it must be a number, lower is better")
        if self._unchecked and key in self._known:
            self._unchecked = False
            if not math.isclose(fitness, self._known[key], rel_tol=_AGREES):
                raise InvalidInput(
                    f"the checkpoint {str(self._checkpoint)!r} says {self._known[key]:g} where {fitness:g} is measured "
                    "now: it is of another network or of other data; delete it, or name another file"
                )
            return
        self._known[key] = fitness
        if time.monotonic() - self._saved > _SAVE_EVERY:
            self.save()

    def _note(self, which: int, genome: Genome) -> None:
        if which != len(self._levels) - 1:
            return
        fitness = self._known[which, genome]
        if self._best is None or fitness < self._known[which, self._best]:
            self._best = genome
            self.history.append((self.spent, fitness))

    def _read(self, path: Path) -> None:
        document = read_document(path, KIND, VERSION)
        source = f"the checkpoint {str(path)!r}"
        if field(document, "fingerprint", source) != self._fingerprint:
            raise InvalidInput(
                f"{source} is of another search: its method, seed, budgets, table or settings differ; delete it, or "
                "name another file"
            )
        check_seal(document, source)
        with readable(source):
            for which, genome, fitness in entries(document, "fitness", source):
                self._known[int(which), tuple(int(rank) for rank in genome)] = float(fitness)
        self._unchecked = bool(self._known)
