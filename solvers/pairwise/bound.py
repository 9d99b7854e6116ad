"""A bound for problems with pairwise terms: the share of each choice, and the price that goes with the shares."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

import numpy as np

from ..bounds.bound import best_price

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..problem.problem import Problem

_STALLED = 1e-4  # of the distance to the best selection that a round must win to go on
_SWEEPS_A_PRICE = 5


@dataclasses.dataclass(eq=False)
class Grid:
    """A problem with pairs on a rectangular grid: groups of fewer choices than the largest are padded.

    Attributes
    ----------
    at
        ``(n_groups, width)`` positions of the choices; that of the first where there is none.
    there
        ``(n_groups, width)`` which places of the grid are choices that can be chosen.
    value
        ``(n_groups, width)`` float64, inf where nothing can be chosen.
    pair
        ``(n_groups, n_groups, width, width)`` float64 ``pair[g, h, a, b]``, symmetric.
    share
        ``(n_groups, n_groups, width)``: ``share[g, h, a]`` is what choice ``a`` of group ``g`` has been given of its
        terms with group ``h``.
    """

    at: NDArray[np.int64]
    there: NDArray[np.bool_]
    value: NDArray[np.float64]
    pair: NDArray[np.float64]
    share: NDArray[np.float64]

    @classmethod
    def of(cls, problem: Problem, fits: NDArray[np.bool_]) -> Grid:
        """Lay a problem out; choices that do not fit are left out."""
        assert problem.pairs is not None
        width = int(problem.size.max())
        column = np.arange(width)
        inside = column < problem.size[:, None]
        at = np.where(inside, problem.start[:-1, None] + column, problem.start[:-1, None])
        there = inside & fits[at]
        matrix = problem.pairs.dense(problem.n_choices)
        pair = matrix[at[:, None, :, None], at[None, :, None, :]]
        groups = len(at)
        value = np.where(there, problem.value[at], np.inf)
        return cls(at, there, value, pair, np.zeros((groups, groups, width)))

    @property
    def with_shares(self) -> NDArray[np.float64]:
        """``(n_groups, width)`` values with all shares."""
        total: NDArray[np.float64] = self.value + self.share.sum(axis=1)
        return total

    def rest(self) -> NDArray[np.float64]:
        """``(n_groups, n_groups, width, width)`` what the shares leave of the pairwise terms, inf where not there."""
        left = self.pair - self.share[:, :, :, None] - self.share.transpose(1, 0, 2)[:, :, None, :]
        both = self.there[:, None, :, None] & self.there[None, :, None, :]
        return np.where(both, left, np.inf)

    def split(self, problem: Problem) -> NDArray[np.float64]:
        """``(n_groups, n_choices)`` the shares in the order of the problem, as `reparametrise` takes them."""
        flat = np.zeros((problem.n_groups, problem.n_choices))
        group, column = np.nonzero(self.there)
        flat[:, self.at[group, column]] = self.share[group, :, column].T
        return flat


def ascend(problem: Problem, grid: Grid, deadline: float, target: float, max_sweeps: int) -> NDArray[np.float64]:
    """Improve the shares of a grid, and find the price that goes with them.

    Two groups at a time, the terms between them are shared out so that the least total of each choice with the other
    group is split evenly (max-product linear programming: Globerson and Jaakkola, 2007, *Fixing max-product: convergent
    message passing algorithms for MAP LP-relaxations*), which never lowers the bound; disjoint pairs of groups, a round
    of a tournament, go at once. In between, the price is chosen anew for the values with their shares.

    Parameters
    ----------
    problem
        A normal problem with pairs.
    grid
        Its grid; its shares are changed.
    deadline
        Of `time.perf_counter`.
    target
        The value of a selection: once the bound is there, nothing is left to improve.
    max_sweeps
        How often to go over all pairs of groups at most.

    Returns
    -------
    price
        ``(n_resources,)`` float64, at least 0.
    """
    rounds = tournament(problem.n_groups)
    price = _price(problem, grid)
    bound = _bound(problem, grid, price)
    for _ in range(max_sweeps // _SWEEPS_A_PRICE):
        charge = price @ problem.cost
        charged = np.where(grid.there, charge[grid.at], 0)
        for _ in range(_SWEEPS_A_PRICE):
            for first, second in rounds:
                _share_evenly(grid, charged, first, second)
        price = _price(problem, grid)
        before, bound = bound, _bound(problem, grid, price)
        if time.perf_counter() > deadline or bound - before <= _STALLED * (target - bound):
            break
    return price


def tournament(groups: int) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Every pair of groups once, in rounds of disjoint pairs (the circle method)."""
    players = list(range(groups + groups % 2))
    rounds = []
    for _ in range(len(players) - 1):
        pairs = [(players[place], players[-1 - place]) for place in range(len(players) // 2)]
        kept = np.array([pair for pair in pairs if max(pair) < groups], dtype=np.int64).reshape(-1, 2)
        rounds.append((kept[:, 0], kept[:, 1]))
        players = [players[0], players[-1], *players[1:-1]]
    return [each for each in rounds if len(each[0])]


def _share_evenly(
    grid: Grid, charged: NDArray[np.float64], first: NDArray[np.int64], second: NDArray[np.int64]
) -> None:
    own = (grid.value + charged)[first] + grid.share[first].sum(axis=1) - grid.share[first, second]
    other = (grid.value + charged)[second] + grid.share[second].sum(axis=1) - grid.share[second, first]
    whole = own[:, :, None] + grid.pair[first, second] + other[:, None, :]
    for these, those, single, least in (
        (first, second, own, whole.min(axis=2)),
        (second, first, other, whole.min(axis=1)),
    ):
        there = grid.there[these]
        half = np.where(there, least, 0) / 2 - np.where(there, single, 0)
        grid.share[these, those] = np.where(there, half, 0)


def _price(problem: Problem, grid: Grid) -> NDArray[np.float64]:
    value = problem.value.copy()
    value[grid.at[grid.there]] = grid.with_shares[grid.there]
    highest = float(np.abs(value[grid.at[grid.there]]).max())
    out = np.ones(problem.n_choices, dtype=bool)
    out[grid.at[grid.there]] = False
    value[out] = 2 * highest
    return best_price(problem.equivalent(value=value, cost=problem.cost, budget=problem.budget))


def _bound(problem: Problem, grid: Grid, price: NDArray[np.float64]) -> float:
    charge = price @ problem.cost
    single = (grid.with_shares + np.where(grid.there, charge[grid.at], 0)).min(axis=1).sum()
    rest = grid.rest().min(axis=(2, 3))
    return float(single + rest[np.triu_indices(len(rest), 1)].sum() - price @ problem.budget)
