"""Level switches: one parent, children that move bits from one layer to another, judged on more and more data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ...common.checks import check_count
from ...errors import InvalidInput

if TYPE_CHECKING:
    import numpy as np

    from ..space import Genome, Space
    from ..task import Task


@dataclass(frozen=True)
class LevelSwitch:
    """A (1 + lambda) search in which every child takes as much as its parent.

    After EvoPress (Sieberling, Kuznedelev, Kurtic and Alistarh, 2024): a mutation raises one group and lowers others to
    pay for it; children are judged on little data first and the survivors on more; the best of them and the parent go
    on. Ours: a switch pays across groups of different sizes by lowering groups in random order, and what is left of the
    budget is filled at random.

    Attributes
    ----------
    generations
        How many times the parent has children.
    offspring
        How many children.
    survivors
        How many of them are judged on each larger share of the data; the last is how many meet the parent.
    shares
        The shares of the calibration data, rising to 1.
    fitness
        What the network is judged by.
    """

    generations: int = 50
    offspring: int = 32
    survivors: tuple[int, ...] = (8, 2)
    shares: tuple[float, ...] = (1 / 16, 1 / 4, 1.0)
    fitness: str = "kl"
    name: ClassVar[str] = "level_switch"
    reference: ClassVar[str] = (
        "Sieberling, Kuznedelev, Kurtic and Alistarh (2024), EvoPress: accurate dynamic model compression via "
        "evolutionary search"
    )

    def __post_init__(self) -> None:
        """Refuse a sieve that does not narrow."""
        counts = (self.offspring, *self.survivors)
        for name, count in (("generations", self.generations), ("offspring", self.offspring)):
            check_count(name, count, 1)
        for count in self.survivors:
            check_count("a number of survivors", count, 1)
        if list(counts) != sorted(counts, reverse=True):
            raise InvalidInput(
                f"offspring = {self.offspring}, survivors = {self.survivors}: each level must keep no more than the "
                "one before it"
            )
        if len(self.shares) != len(counts) or list(self.shares) != sorted(self.shares) or self.shares[-1] != 1:
            raise InvalidInput(
                f"shares = {self.shares}: give one share of the data for the offspring and one for each number of "
                "survivors, rising to 1"
            )
        if self.shares[0] <= 0:
            raise InvalidInput(f"shares = {self.shares}: a share must be above 0")

    def __call__(self, task: Task) -> None:
        """Search from the dearest uniform policy that fits, or from a random one where none does."""
        space, rng, objective = task.space, task.rng, task.objective
        parent = next(iter(space.uniform()), None) or space.random(rng)
        parent = space.filled(parent, rng)
        worth = objective(parent)
        for _ in range(self.generations):
            alive = list(dict.fromkeys(_child(space, rng, parent) for _ in range(self.offspring)))
            for level, keep in enumerate(self.survivors):
                alive = sorted(alive, key=lambda genome: objective(genome, level))[:keep]
            best = min(alive, key=objective)
            if objective(best) < worth:
                parent, worth = best, objective(best)


def _child(space: Space, rng: np.random.Generator, parent: Genome) -> Genome:
    for _ in range(int(rng.integers(1, 4, 2).min())):
        parent = space.switched(parent, rng)
    return space.filled(parent, rng)
