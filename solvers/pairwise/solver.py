"""Pairwise: solves problems with pairwise terms by a bound, a search, and exchanges where the search is too large."""

from __future__ import annotations

import dataclasses
import math
import time
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ..answer import Answer
from ..bounds.gap import TOLERANCE
from ..bounds.lagrangian import lagrangian_bound
from ..certify import total_value
from ..core.reduction import reduce
from ..methods.exact import Exact
from ..problem.arguments import check_whole
from ..problem.supports import refusal
from .bound import Grid, ascend
from .moves import descend
from .search import Excess, Outcome, exhaust

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..problem.problem import Problem

_LARGEST = 4000  # choices: the pairwise terms are held as a dense matrix
_SHARE_OF_TIME = 0.3  # for the bound, before the search
_STARTS = 8


@dataclasses.dataclass(frozen=True)
class Pairwise:
    """Branch and bound with pairwise terms shared among choices; changes of one and two groups find good selections.

    The pairwise terms are shared among single choices; together with a price on the budgets that bounds every selection
    from below (see `bound.ascend`); this bound is part of the certificate. What a choice adds to it is never
    negative, so a depth-first search over the groups can drop every partial selection whose additions reach the best
    selection known. That is exact to about 30 groups of a few choices, further where interactions are weak; beyond, the
    answer is the best that exchanges found, with the gap to the bound.

    Attributes
    ----------
    max_nodes
        Partial selections that the search may look at; 0 leaves the search out.
    max_sweeps
        How often the shares may be improved; with 0 the bound is weak, and exchanges are nearly all the work.
    """

    name: ClassVar[str] = "pairwise"
    requires: ClassVar[str | None] = None
    reference: ClassVar[str] = "Globerson, Jaakkola (2007), Fixing max-product, for the bound; depth-first search"

    max_nodes: int = 20_000_000
    max_sweeps: int = 300

    def __post_init__(self) -> None:
        """Refuse limits that are no counts."""
        check_whole("max_nodes", self.max_nodes, 0)
        check_whole("max_sweeps", self.max_sweeps, 0)

    def supports(self, problem: Problem) -> str | None:
        """Give the reason why not, or None: problems with pairs, of up to 4,000 choices, without further rows."""
        if problem.pairs is None:
            return refusal(problem, self.name) or "pairwise is for problems with pairwise terms: use 'exact' without"
        if problem.rows is not None:
            return f"pairwise takes no further rows, the problem has {problem.rows.n_rows}: leave rows or pairs out"
        if problem.n_choices > _LARGEST:
            return (
                f"pairwise takes up to {_LARGEST} choices, the problem has {problem.n_choices}: leave the pairs "
                "out, or formats that are never chosen"
            )
        return None

    def __call__(self, problem: Problem, *, seconds: float, seed: int, warm: NDArray[np.int64] | None) -> Answer:
        """Solve; the seed draws starts of the exchanges."""
        began = time.perf_counter()
        deadline = began + seconds
        linear = Exact()(problem.with_pairs(None), seconds=seconds / 2, seed=seed, warm=warm)
        if linear.choice is None or linear.stats.get("interrupted"):
            return dataclasses.replace(linear, complete=linear.complete and linear.choice is None)
        assert problem.pairs is not None
        matrix = problem.pairs.dense(problem.n_choices)
        best, grid = _Best(problem), Grid.of(problem, problem.fits)
        price: NDArray[np.float64] | None = None
        best.take(linear.choice)
        try:
            for start in (linear.choice, warm):
                if start is not None and (problem.cost[:, start].sum(axis=1) <= problem.budget).all():
                    best.take(descend(problem, matrix, start, deadline))
            price = ascend(problem, grid, began + _SHARE_OF_TIME * seconds, best.value, self.max_sweeps)
            _more_starts(problem, matrix, grid, best, seed, deadline)
            outcome = self._exhaust(problem, grid, price, best, deadline)
            best.take(descend(problem, matrix, best.choice, deadline))
        except KeyboardInterrupt:  # whatever the shares are by now, they prove a bound
            return Answer(best.choice, price=price, split=grid.split(problem), stats={"interrupted": True})
        return Answer(
            best.choice,
            complete=outcome.complete,
            price=price,
            split=grid.split(problem),
            resolution=2 * best.noise,
            stats={"nodes": outcome.nodes},
        )

    def _exhaust(
        self, problem: Problem, grid: Grid, price: NDArray[np.float64], best: _Best, deadline: float
    ) -> Outcome:
        """Search for anything better than the best selection, as far as nodes and time reach."""
        if self.max_nodes == 0:
            return Outcome(complete=False, nodes=0)
        excess = Excess.of(problem, grid, price, best.value - _floor(problem, grid, price))

        def better(choice: NDArray[np.int64]) -> float:
            best.take(choice)
            return best.value - best.noise - excess.bound

        return exhaust(problem, excess, better, better(best.choice), deadline=deadline, max_nodes=self.max_nodes)


class _Best:
    """The best selection met."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self.choice: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self.value = math.inf
        assert problem.pairs is not None
        largest = np.maximum.reduceat(np.abs(problem.value), problem.start[:-1]).sum()
        self.noise = TOLERANCE / 10 * float(largest + np.abs(problem.pairs.value).max(initial=0) * problem.n_groups)

    def take(self, choice: NDArray[np.int64]) -> None:
        """Keep a selection if it is better."""
        value = total_value(self._problem, choice)
        if value < self.value:
            self.choice, self.value = choice, value


def _more_starts(
    problem: Problem, matrix: NDArray[np.float64], grid: Grid, best: _Best, seed: int, deadline: float
) -> None:
    """Descend from the best selections for the values with their shares, and for these with some noise."""
    rng = np.random.default_rng(seed)
    value = problem.value.copy()
    value[grid.at[grid.there]] = grid.with_shares[grid.there]
    spread = float(np.std(value[grid.at[grid.there]]))
    for start in range(_STARTS):
        if time.perf_counter() > deadline:
            return
        noise = rng.normal(size=len(value)) * spread * start / _STARTS
        found = reduce(problem.equivalent(value=value + noise, cost=problem.cost, budget=problem.budget)).incumbent
        if found is not None:
            best.take(descend(problem, matrix, found, deadline))


def _floor(problem: Problem, grid: Grid, price: NDArray[np.float64]) -> float:
    """What the shares and the price prove; the choices whose excess is above the gap to it can be dropped."""
    return lagrangian_bound(problem, price, grid.split(problem))
