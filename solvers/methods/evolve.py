"""Evolve: a seeded evolutionary search without reduction or prices, as a baseline."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ..answer import Answer
from ..errors import InvalidProblem
from ..problem.arguments import check_whole
from ..problem.supports import refusal

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..problem.problem import Problem

_ENTRIES = 2**20  # individuals times choices that are repaired in one go
_GENES = 2**24  # individuals times groups that live at a time
_ELITE = 0.1  # the share of the population that survives unchanged
_PATIENCE = 30  # generations without a better selection after which the search ends
_REPAIRS = 100  # rounds of repair, each of at most one change a group
_CHANGED = 8  # a round changes one group in so many: a second change of a group may lose less than a first of another


@dataclasses.dataclass(frozen=True)
class Evolve:
    """Tournaments, uniform crossover, mutation, budget-neutral pairs of moves, and repair of what is over budget.

    An individual holds, for every group, the rank of its choice in the order of cost. Half of the offspring come from
    crossover and mutation, half from a parent by moving one group a rank up and another one a rank down. The first
    population holds the uniform selections and random ones. An individual over budget lowers the groups that lose
    least value per cost saved. The best tenth survives.

    Attributes
    ----------
    evaluations
        How many selections may be evaluated; the search also ends when 30 generations brought nothing better.
    population
        How many selections live at a time.
    """

    evaluations: int = 20_000
    population: int = 100
    name: ClassVar[str] = "evolve"
    requires: ClassVar[str | None] = None
    reference: ClassVar[str] = (
        "Yuan, Chen, Hu and Peng (2020), EvoQ: mixed precision quantization of DNNs via sensitivity guided "
        "evolutionary search, IJCNN (after it: operators and their rates are ours, and the fitness is the table's)"
    )

    def __post_init__(self) -> None:
        """Refuse sizes with which nothing evolves."""
        check_whole("population", self.population, 4)
        check_whole("evaluations", self.evaluations, 1)
        if self.evaluations < self.population:
            raise InvalidProblem(
                f"evaluations is {self.evaluations!r}: it must be at least the population, {self.population}"
            )

    def supports(self, problem: Problem) -> str | None:
        """Give the reason why not, or None: every problem without further rows is taken."""
        return refusal(problem, self.name)

    def __call__(self, problem: Problem, *, seconds: float, seed: int, warm: NDArray[np.int64] | None) -> Answer:
        """Solve; a warm start joins the first population."""
        deadline = time.perf_counter() + seconds
        rng = np.random.default_rng(seed)
        table = _Table(problem)
        size = min(self.population, max(4, _GENES // problem.n_groups))
        rank = _founders(rng, problem.size, size)
        if warm is not None:
            rank[-1] = table.rank[warm]
        alive = table.live(rank, deadline)
        evaluations, generation, last_gain = size, 0, 0
        while evaluations < self.evaluations and generation - last_gain < _PATIENCE and time.perf_counter() < deadline:
            generation += 1
            born = min(size - max(1, int(_ELITE * size)), self.evaluations - evaluations)
            evaluations += born
            children = table.live(_offspring(rng, problem.size, alive.rank, born), deadline)
            following = alive.followed_by(children, size)
            if following.fitness < alive.fitness:
                last_gain = generation
            alive = following
        stats = {"evaluations": evaluations, "generations": generation, "last_gain": last_gain}
        if alive.overrun[0] > 0:
            return Answer(None, stats=stats)
        return Answer(table.order[problem.start[:-1] + alive.rank[0]], stats=stats)


@dataclasses.dataclass(frozen=True, eq=False)
class _Population:
    """Individuals, the fittest first: by overrun, then by value.

    Attributes
    ----------
    rank
        ``(n, n_groups)`` int64 rank of each group's choice in the order of cost.
    overrun
        ``(n,)`` float64 what exceeds the budgets, as shares of them; 0 exactly where nothing does.
    value
        ``(n,)`` float64.
    """

    rank: NDArray[np.int64]
    overrun: NDArray[np.float64]
    value: NDArray[np.float64]

    @property
    def fitness(self) -> tuple[float, float]:
        """Overrun and value of the fittest."""
        return float(self.overrun[0]), float(self.value[0])

    def followed_by(self, children: _Population, size: int) -> _Population:
        """The children, and as many of the fittest parents as there is room for."""
        stay = size - len(children.rank)
        rank = np.concatenate([self.rank[:stay], children.rank])
        overrun = np.concatenate([self.overrun[:stay], children.overrun])
        value = np.concatenate([self.value[:stay], children.value])
        order = np.lexsort((value, overrun))
        return _Population(rank[order], overrun[order], value[order])


def _founders(rng: np.random.Generator, size: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """The cheapest selection, then the same rank for every group from the dearest down, then ranks at random."""
    rank = rng.integers(0, size, (n, len(size)))
    uniform = min(int(size.max()), n // 2)
    rank[1 : 1 + uniform] = np.minimum(np.arange(uniform)[::-1, None], size - 1)
    rank[0] = 0
    return rank


def _offspring(
    rng: np.random.Generator, size: NDArray[np.int64], parents: NDArray[np.int64], born: int
) -> NDArray[np.int64]:
    """Children of parents that stand in order of fitness, not repaired yet."""
    n, groups = parents.shape
    tournament = rng.integers(0, n, (2, 2, born)).min(axis=0)  # the fitter one of two stands first
    children: NDArray[np.int64] = parents[tournament[0]]
    moved = born // 2
    row = np.arange(moved)
    up, down = rng.integers(0, groups, (2, moved))
    children[row, up] = np.minimum(children[row, up] + 1, size[up] - 1)
    children[row, down] = np.maximum(children[row, down] - 1, 0)
    crossed = children[moved:]
    other = rng.random(crossed.shape) < 0.5
    crossed[other] = parents[tournament[1, moved:]][other]
    mutated = rng.random(crossed.shape) < 1 / groups
    crossed[mutated] = rng.integers(0, np.broadcast_to(size, crossed.shape)[mutated])
    return children


class _Table:
    """The problem with the choices of every group in the order of cost.

    Attributes
    ----------
    order
        ``(n_choices,)`` int64 positions: by group, and then by the cost as shares of the budgets.
    rank
        ``(n_choices,)`` int64 rank of each position within its group.
    """

    def __init__(self, problem: Problem) -> None:
        share = (1.0 / np.maximum(problem.budget, 1)) @ problem.cost
        self.order: NDArray[np.int64] = np.lexsort((problem.value, share, problem.group))
        self.rank = np.empty(problem.n_choices, dtype=np.int64)
        self.rank[self.order] = np.arange(problem.n_choices) - problem.start[problem.group]
        self._value, self._cost = problem.value[self.order], problem.cost[:, self.order]
        self._budget, self._start, self._group = problem.budget, problem.start[:-1], problem.group
        self._unit = np.maximum(problem.cost.max(axis=1), 1).astype(np.float64)[:, None]

    def live(self, rank: NDArray[np.int64], deadline: float) -> _Population:
        """Repair new individuals and evaluate them."""
        at = rank + self._start
        block = max(1, _ENTRIES // len(self._value))
        for first in range(0, len(at), block):
            if time.perf_counter() > deadline:
                break  # the rest stay over budget
            some = at[first : first + block]
            left, before = self._repair(some), np.inf
            for _ in range(_REPAIRS):
                if not 0 < left < before or time.perf_counter() > deadline:
                    break
                left, before = self._repair(some), left
        overrun = (np.maximum(self._excess(at), 0) / self._unit).sum(axis=0)
        value = self._value[at].sum(axis=1)
        order = np.lexsort((value, overrun))
        return _Population((at - self._start)[order], overrun[order], value[order])

    def _excess(self, at: NDArray[np.int64]) -> NDArray[np.int64]:
        """``(n_resources, n)`` cost less budget."""
        excess: NDArray[np.int64] = self._cost[:, at].sum(axis=2) - self._budget[:, None]
        return excess

    def _repair(self, at: NDArray[np.int64]) -> float:
        """Change groups of the individuals over budget, in place, least value lost per cost saved first.

        Returns the sum of what they were over budget before, as shares.
        """
        excess = self._excess(at)
        over = np.flatnonzero((excess > 0).any(axis=0))
        if not len(over):
            return 0.0
        here, excess = at[over], excess[:, over]
        charge = ((excess > 0) / self._unit).T @ self._cost
        rows = np.arange(len(over))[:, None]
        shed = charge[rows, here][:, self._group] - charge
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            rate = (self._value - self._value[here][:, self._group]) / shed
        rate[~(shed > 0)] = np.inf
        least = np.minimum.reduceat(rate, self._start, axis=1)
        first = np.where(rate == least[:, self._group], np.arange(len(self._value)), len(self._value))
        target = np.where(np.isfinite(least), np.minimum.reduceat(first, self._start, axis=1), here)
        turn = np.argsort(least, axis=1, kind="stable")
        change = self._cost[:, target[rows, turn]] - self._cost[:, here[rows, turn]]
        after = excess[:, :, None] + np.cumsum(change, axis=2)
        enough = np.asarray((after <= 0).all(axis=0))
        last = np.where(enough.any(axis=1), enough.argmax(axis=1), enough.shape[1])
        last = np.minimum(last, enough.shape[1] // _CHANGED)
        takes_turn = np.arange(enough.shape[1]) <= last[:, None]
        here[rows, turn] = np.where(takes_turn, target[rows, turn], here[rows, turn])
        at[over] = here
        return float((np.maximum(excess, 0) / self._unit).sum())
