"""EMQ: evolution of the quantisation of weights and activations together, judged by the network's performance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ...common.checks import check_count, check_probability
from ...errors import InvalidInput
from .evoq import founders

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..space import Genome, Space
    from ..task import Task


@dataclass(frozen=True)
class EMQ:
    """Evolution in which an individual holds how weights and activations of all layers are quantised.

    After Liu, Zhang, Wang, Ma and Gao (2021). Known from the abstract: the quantisation intervals of weights and
    activations of all layers are encoded together as one individual, and the fitness is the performance of the
    quantised network. Ours: a gene names the format of a layer (bits of weights and of activations; the interval of
    the weights is the one of least squared error, as they do not depend on data), a second gene widens or narrows the
    range of its input around the calibrated one. Tournaments of two, uniform crossover by layer, mutation gene by gene,
    repair of what is over budget by lowering layers at random, elitism. The table's losses are not used.

    Attributes
    ----------
    population
        How many policies live at a time.
    generations
        How many times they have children, as many as they are.
    mutation
        The probability with which each gene of a child is drawn anew.
    widths
        The widths of the ranges of activations, in per cent of the calibrated ones; ``(100,)`` searches formats alone.
    fitness
        What the network is judged by; ``"error"`` needs targets.
    """

    population: int = 30
    generations: int = 20
    mutation: float = 0.1
    widths: tuple[int, ...] = (50, 60, 70, 80, 90, 100, 115)
    fitness: str = "error"
    shares: tuple[float, ...] = (1.0,)
    name: ClassVar[str] = "emq"
    reference: ClassVar[str] = (
        "Liu, Zhang, Wang, Ma and Gao (2021), Evolutionary quantization of neural networks with mixed-precision, ICASSP"
    )

    def __post_init__(self) -> None:
        """Refuse sizes with which nothing evolves."""
        check_count("population", self.population, 2)
        check_count("generations", self.generations, 1)
        check_probability("mutation", self.mutation)
        if not self.widths or min(self.widths) < 1 or 100 not in self.widths:
            raise InvalidInput(f"widths = {self.widths}: give whole numbers of per cent, 100 among them")

    def __call__(self, task: Task) -> None:
        """Search."""
        space, rng = task.space, task.rng
        # Widths have a stream of their own: without them, the same formats are tried in the same order.
        own = rng.spawn(1)[0]
        alive = [_joined(genome, self._drawn(own, len(space))) for genome in founders(space, rng, self.population)]
        alive[0] = _joined(alive[0][: len(space)], np.full(len(space), 100))
        worth = {genome: task.objective(genome) for genome in alive}
        for _ in range(self.generations):
            alive = sorted(dict.fromkeys(alive), key=worth.__getitem__)[: self.population]
            born = [self._child(space, rng, own, alive) for _ in range(self.population)]
            worth |= {genome: task.objective(genome) for genome in born}
            alive = [*alive, *born]

    def _drawn(self, rng: np.random.Generator, count: int) -> NDArray[np.int64]:
        return rng.choice(np.array(self.widths), count)

    def _child(self, space: Space, rng: np.random.Generator, own: np.random.Generator, alive: list[Genome]) -> Genome:
        """A child of two parents, each the fitter of two drawn ones; `alive` stands in order of fitness."""
        first, second = (np.array(alive[int(rng.integers(0, len(alive), 2).min())]).reshape(2, -1) for _ in range(2))
        rank, width = np.where(rng.random(len(space)) < 0.5, first, second)
        rank = np.where(rng.random(len(space)) < self.mutation, rng.integers(0, space.size), rank)
        width = np.where(own.random(len(space)) < self.mutation, self._drawn(own, len(space)), width)
        return _joined(space.repaired(tuple(rank.tolist()), rng), width)


def _joined(ranks: Genome, widths: NDArray[np.int64]) -> Genome:
    return (*ranks, *widths.tolist())
