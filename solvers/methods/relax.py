"""Relax: the linear relaxation, rounded under the budgets, repaired and filled."""

from __future__ import annotations

import dataclasses
import itertools
import math
import time
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ..answer import Answer
from ..bounds.bound import best_price, minimised
from ..bounds.exact_sums import chosen_total
from ..bounds.hull import lower_hull, multiplier, undominated
from ..bounds.lagrangian import lagrangian_bound
from ..core.incumbent import improve, repair
from ..errors import require
from ..problem.supports import refusal

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..problem.problem import Problem

_GRACE = 0.1  # seconds past the deadline that a selection within the budgets is worth
_TIED = 1e-9  # reduced costs below this share of the largest value count as zero
_LOOSE = 1e-6  # mixture and bound further apart than this share of the largest value do not belong together
_WHOLE = 1e-9  # a share this close to one is one
_ROUNDINGS = 4096  # with more ways to round than this, the nearest one is taken


@dataclasses.dataclass(frozen=True)
class Relax:
    """Let every group mix its choices, solve that exactly, and round the few groups that do.

    On a table of losses, a bit-width that varies continuously between the formats is a mixture of choices, and its
    best loss is the lower convex hull: the linear relaxation. With R budgets at most R groups mix; all ways to round
    those under the budgets are tried, then the best change of a group is made while one helps. The relaxed value is
    the bound of the certificate.
    """

    name: ClassVar[str] = "relax"
    requires: ClassVar[str | None] = "scipy"
    reference: ClassVar[str] = (
        "Guo, Huang, Cheng, Li, Wen, Ma, Li and Chen (2019), automatic search of bit-widths by relaxation, AICAS, "
        "276-278 (after it: the paper's idea on a table; rounding, repair and filling are ours)"
    )

    def supports(self, problem: Problem) -> str | None:
        """Give the reason why not, or None: every problem without further rows is taken."""
        return refusal(problem, self.name)

    def __call__(self, problem: Problem, *, seconds: float, seed: int, warm: NDArray[np.int64] | None) -> Answer:
        """Solve; deterministic, and neither seed nor warm start is used."""
        deadline = time.perf_counter() + seconds
        mixture = _one_budget(problem) if problem.n_resources == 1 else _several_budgets(problem, deadline)
        stats = {"fractional_groups": len(mixture.support)}
        figures = {"relaxed_value": lagrangian_bound(problem, mixture.price)}
        allowed = np.arange(problem.n_choices)
        rounding = _rounded(problem, mixture)
        rounded = repair(problem, rounding, mixture.price, allowed=allowed, deadline=deadline + _GRACE)
        if rounded is None:
            return Answer(None, price=mixture.price, stats=stats, figures=figures)
        starts = rounded, _filled(problem, rounded, deadline)
        filled = [improve(problem, each, allowed=allowed, deadline=deadline) for each in starts]
        best = min(filled, key=lambda selection: chosen_total(problem.value, selection))
        return Answer(best, price=mixture.price, stats=stats, figures=figures)


@dataclasses.dataclass(frozen=True, eq=False)
class _Mixture:
    """A solution of the linear relaxation.

    Attributes
    ----------
    price
        ``(n_resources,)`` float64 multipliers.
    selection
        ``(n_groups,)`` int64 positions; of a group that mixes, the choice with the largest share.
    support
        For each group that mixes, the int64 positions that it mixes.
    """

    price: NDArray[np.float64]
    selection: NDArray[np.int64]
    support: tuple[NDArray[np.int64], ...]


def _one_budget(problem: Problem) -> _Mixture:
    """Hull steps in falling order of value saved per cost; the step at which the budget runs out is split."""
    position = undominated(problem.value, problem.cost[0], problem.start)
    hull = lower_hull(problem.value, problem.cost[0], problem.group, position)
    room = int(problem.budget[0]) - problem.least_cost[0]
    price = multiplier(hull.rate, hull.weight, room)
    taken = hull.rate > price
    at = hull.split(price)
    room -= int(hull.weight[taken].sum())
    tied = np.flatnonzero(hull.rate == price)  # one step of a group at most: rates fall strictly within it
    within = np.cumsum(hull.weight[tied]) <= room
    whole = int(within.sum())
    at[hull.group[tied[:whole]]] += 1
    support: tuple[NDArray[np.int64], ...] = ()
    if whole < len(tied) and int(hull.weight[tied[:whole]].sum()) < room:
        tail = int(hull.tail[tied[whole]])
        support = (hull.point[tail : tail + 2],)
    return _Mixture(np.array([price]), hull.point[at], support)


def _several_budgets(problem: Problem, deadline: float) -> _Mixture:
    """By complementary slackness only choices whose reduced cost is zero mix: a linear programme over those is left."""
    price = best_price(problem, deadline=deadline)
    begin = problem.start[:-1]
    relative = problem.value - np.repeat(np.minimum.reduceat(problem.value, begin), problem.size)
    fits = problem.fits
    penalised = np.where(fits, relative + price @ problem.cost, np.inf)
    reduced = penalised - np.repeat(np.minimum.reduceat(penalised, begin), problem.size)
    scale = float(relative.max()) or 1.0
    taken = np.flatnonzero(reduced <= _TIED * scale)
    vertex = _vertex(problem, taken, relative / scale, deadline)
    proved = (lagrangian_bound(problem, price) - math.fsum((problem.value - relative)[begin].tolist())) / scale
    if vertex is None or float(vertex[0] @ relative[taken]) / scale > proved + _LOOSE:  # not the best price after all
        taken = np.flatnonzero(fits)
        vertex = _vertex(problem, taken, relative / scale, deadline)
    first = np.flatnonzero(np.diff(problem.group[taken], prepend=-1))
    if vertex is None:
        return _Mixture(price, taken[first], ())
    share, other = vertex
    price = max(price, other * scale, key=lambda each: lagrangian_bound(problem, each))
    order = np.lexsort((-share, problem.group[taken]))
    support = [
        taken[low:high][share[low:high] > _WHOLE]
        for low, high in itertools.pairwise([*first.tolist(), len(taken)])
        if share[low:high].max() < 1 - _WHOLE
    ]
    return _Mixture(price, taken[order[first]], tuple(support))


def _vertex(
    problem: Problem, taken: NDArray[np.int64], value: NDArray[np.float64], deadline: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Shares of some choices that meet the budgets on average at least value, and prices; None where none are found.

    At a vertex, where the simplex method ends, at most as many groups mix as there are budgets.
    """
    sparse = require("scipy.sparse", None)
    unit = np.maximum(problem.cost.max(axis=1), 1).astype(np.float64)
    first = np.flatnonzero(np.diff(problem.group[taken], prepend=-1))
    one = sparse.csr_array(
        (np.ones(len(taken)), np.arange(len(taken)), np.append(first, len(taken))),
        shape=(problem.n_groups, len(taken)),
    )
    result = minimised(
        deadline,
        value[taken],
        A_ub=sparse.csr_array(problem.cost[:, taken] / unit[:, None]),
        b_ub=problem.budget / unit,
        A_eq=one,
        b_eq=np.ones(problem.n_groups),
    )
    if result is None:
        return None
    return np.asarray(result.x), np.maximum(-np.asarray(result.ineqlin.marginals), 0.0) / unit


def _rounded(problem: Problem, mixture: _Mixture) -> NDArray[np.int64]:
    """Of all ways to round, the one of least value within the budgets, else the one that exceeds them least."""
    if not mixture.support or math.prod(len(own) for own in mixture.support) > _ROUNDINGS:
        return mixture.selection
    ways = np.array(list(itertools.product(*(own.tolist() for own in mixture.support))), dtype=np.int64)
    others = np.ones(problem.n_groups, dtype=bool)
    others[problem.group[ways[0]]] = False
    room = problem.budget - problem.cost[:, mixture.selection[others]].sum(axis=1)
    over = np.maximum(problem.cost[:, ways].sum(axis=2).T - room, 0) / np.maximum(problem.cost.max(axis=1), 1)
    best = np.lexsort((problem.value[ways].sum(axis=1), over.sum(axis=1)))[0]
    selection = mixture.selection.copy()
    selection[problem.group[ways[best]]] = ways[best]
    return selection


def _filled(problem: Problem, selection: NDArray[np.int64], deadline: float) -> NDArray[np.int64]:
    """Spend what is left of the budgets on the changes that save most value per cost, as shares of what is left."""
    chosen = selection.copy()
    while time.perf_counter() < deadline:
        room = (problem.budget - problem.cost[:, chosen].sum(axis=1))[:, None]
        gain = problem.value[chosen[problem.group]] - problem.value
        change = problem.cost - problem.cost[:, chosen[problem.group]]
        fits = np.flatnonzero((gain > 0) & (change <= room).all(axis=0))
        if not len(fits):
            break
        spent = (np.maximum(change[:, fits], 0) / np.maximum(room, 1)).sum(axis=0)
        with np.errstate(divide="ignore", over="ignore"):
            best = int(fits[np.argmax(gain[fits] / spent)])
        chosen[problem.group[best]] = best
    return chosen
