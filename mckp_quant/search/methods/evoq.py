"""EvoQ: evolution of bit-widths on the real network, with few unlabelled samples, guided by sensitivity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ...common.checks import check_count, check_probability

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..space import Genome, Space
    from ..task import Task


@dataclass(frozen=True)
class EvoQ:
    """Evolution whose mutations give bits to sensitive layers and take them from those that hardly feel it.

    After Yuan, Chen, Hu and Peng (2020). Known from the abstract: post-training, 50 samples, fitness is the difference
    between the outputs of the quantised and the float network, the sensitivity of the layers steers the mutation, and
    resources are no larger than the uniform policy's. Ours: everything else. A mutation raises a group with a
    probability in proportion to what its present format costs in loss, and lowers another one in proportion to one
    over what its next lower format would cost; offspring over budget are repaired by lowering the groups that lose
    least per cost shed; parents and children compete, and the fitter half lives on.

    Attributes
    ----------
    population
        How many policies live at a time.
    generations
        How many times they have children, as many as they are.
    crossover
        The share of children that take each gene from one of two parents.
    mutation
        How many pairs of genes of a child are changed, as a share of all genes; at least one.
    guided
        Whether sensitivity steers mutation and repair; without it this is a plain evolutionary search.
    fitness
        What the network is judged by.
    """

    population: int = 50
    generations: int = 20
    crossover: float = 0.5
    mutation: float = 0.1
    guided: bool = True
    fitness: str = "squared"
    shares: tuple[float, ...] = (1.0,)
    name: ClassVar[str] = "evoq"
    reference: ClassVar[str] = (
        "Yuan, Chen, Hu and Peng (2020), EvoQ: mixed precision quantization of DNNs via sensitivity guided "
        "evolutionary search, IJCNN"
    )

    def __post_init__(self) -> None:
        """Refuse sizes with which nothing evolves."""
        check_count("population", self.population, 2)
        check_count("generations", self.generations, 1)
        check_probability("crossover", self.crossover)
        check_probability("mutation", self.mutation)

    def __call__(self, task: Task) -> None:
        """Search; policies that were judged before cost nothing."""
        space, rng = task.space, task.rng
        harm = space.harm() if self.guided else None
        alive = founders(space, rng, self.population)
        worth = {genome: task.objective(genome) for genome in alive}
        for _ in range(self.generations):
            born = [self._child(space, rng, alive, harm) for _ in range(self.population)]
            worth |= {genome: task.objective(genome) for genome in born}
            alive = sorted(dict.fromkeys([*alive, *born]), key=worth.__getitem__)[: self.population]

    def _child(
        self, space: Space, rng: np.random.Generator, alive: list[Genome], harm: NDArray[np.float64] | None
    ) -> Genome:
        # Parents stand in order of fitness after the first generation: the better of two drawn ones is the parent.
        first, second = (alive[int(rng.integers(0, len(alive), 2).min())] for _ in range(2))
        child = np.array(first)
        if rng.random() < self.crossover:
            child = np.where(rng.random(len(space)) < 0.5, child, second)
        for _ in range(max(1, int(rng.binomial(len(space), self.mutation)))):
            self._mutate(child, space, rng, harm)
        return space.repaired(tuple(child.tolist()), rng, harm)

    def _mutate(
        self, child: NDArray[np.int64], space: Space, rng: np.random.Generator, harm: NDArray[np.float64] | None
    ) -> None:
        """Raise one group by a rank and lower another one, in place."""
        groups = np.arange(len(space))
        now = np.ones(len(space)) if harm is None else harm[groups, child]
        below = np.ones(len(space)) if harm is None else harm[groups, np.maximum(child - 1, 0)]
        up = drawn(rng, np.maximum(now, 0) * (child + 1 < space.size))
        if up is not None:
            child[up] += 1
        scale = np.abs(below).mean() or 1.0
        down = drawn(rng, (child > 0) * (groups != up) / (1e-6 * scale + np.maximum(below, 0)))
        if down is not None:
            child[down] -= 1


def founders(space: Space, rng: np.random.Generator, count: int) -> list[Genome]:
    """The uniform policies within the budgets, and random ones, `count` together.

    Parameters
    ----------
    space
        The policies.
    rng
        Draws the random ones.
    count
        How many; uniform ones beyond half of them are left out.

    Returns
    -------
    genomes
        Each within the budgets; a small space may bring some of them twice.
    """
    uniform = space.uniform()[: max(1, count // 2)]
    return [*uniform, *(space.random(rng) for _ in range(count - len(uniform)))]


def drawn(rng: np.random.Generator, weight: NDArray[np.float64]) -> int | None:
    """A position drawn in proportion to its weight; None where all are 0."""
    total = weight.sum()
    if not total > 0:
        return None
    return int(rng.choice(len(weight), p=weight / total))
