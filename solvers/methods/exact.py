"""Exact solvers of our own: reduction with a search of the core, and brute force."""

from __future__ import annotations

import dataclasses
import math
import time
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ..answer import Answer
from ..bounds.bound import farkas_price
from ..bounds.gap import spread_of, whole_unit
from ..bounds.lagrangian import EPS
from ..core.reduction import reduce
from ..core_search.dynamic import CoreResult
from ..core_search.one_budget import search_one_budget, solved_at_once
from ..core_search.several_budgets import answer_of, search_several_budgets
from ..problem.arguments import check_whole
from ..problem.supports import refusal

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..problem.problem import Problem
    from ..watching import NormalWatch

_FEW_SELECTIONS, _FEW_GROUPS = 10_000, 13


@dataclasses.dataclass(frozen=True)
class Exact:
    """Reduce to the core, then search it to the end: dynamic programming, or state lists where budgets are several.

    With several budgets the lists take turns with pairs of half selections and with CP-SAT, which is given the core
    that is left and the best selection.

    Attributes
    ----------
    max_states
        How many states each search of the core may keep; beyond it the answer is FEASIBLE with a true gap.
    """

    max_states: int = 10**7
    name: ClassVar[str] = "exact"
    requires: ClassVar[str | None] = None
    reference: ClassVar[str] = (
        "Pisinger (1995), A minimal algorithm for the multiple-choice knapsack problem, EJOR 83, 394-410"
    )

    def __post_init__(self) -> None:
        """Refuse a limit that no list fits in."""
        check_whole("max_states", self.max_states, 1)

    def supports(self, problem: Problem) -> str | None:
        """Give the reason why not, or None: every problem without further rows is taken."""
        return refusal(problem, self.name)

    def __call__(self, problem: Problem, *, seconds: float, seed: int, warm: NDArray[np.int64] | None) -> Answer:
        """Solve; deterministic, so the seed is not used."""
        return self.watched(problem, seconds=seconds, seed=seed, warm=warm, watch=None)

    def watched(
        self,
        problem: Problem,
        *,
        seconds: float,
        seed: int,
        warm: NDArray[np.int64] | None,
        watch: NormalWatch | None,
    ) -> Answer:
        """Solve, and tell of every better selection; stop where that is enough."""
        deadline = time.perf_counter() + seconds
        if problem.n_resources == 1 and watch is None:
            answer = solved_at_once(problem, warm, self.max_states, deadline)
            if answer is not None:
                return answer
        reduction = reduce(problem, warm, deadline)
        if reduction.incumbent is None and not _are_few(problem) and farkas_price(problem) is not None:
            return Answer(None, complete=True)
        if watch is not None and reduction.incumbent is not None and watch.found(reduction.incumbent, reduction.price):
            return answer_of(reduction, CoreResult(None, reduction.gap, reduction.closed, 0))
        if problem.n_resources == 1:
            return answer_of(reduction, search_one_budget(reduction, self.max_states, deadline, watch=watch))
        answer = search_several_budgets(problem, reduction, self.max_states, deadline, watch=watch)
        if reduction.incumbent is None and answer.choice is not None and answer.complete:
            # Without an incumbent nothing was fixed, and rounding is that of the largest values of all groups. Now
            # that there is one, the same search is short, and as sharp as the values that matter.
            sharper = reduce(problem, answer.choice, deadline)
            again = search_several_budgets(problem, sharper, self.max_states, deadline, watch=watch)
            if "interrupted" in again.stats:
                answer = dataclasses.replace(answer, stats={**answer.stats, "interrupted": True})
            return again if again.complete else answer
        return answer


def _are_few(problem: Problem) -> bool:
    """Whether selections are so few that a search finds one, or none, sooner than a linear programme is solved."""
    return math.prod(problem.size[:_FEW_GROUPS].tolist()) <= _FEW_SELECTIONS and problem.n_groups <= _FEW_GROUPS


@dataclasses.dataclass(frozen=True)
class Enumerate:
    """Try every selection: the oracle that the others are tested against.

    Attributes
    ----------
    max_selections
        Problems with more selections than this are refused.
    """

    max_selections: int = 10**6
    name: ClassVar[str] = "enumerate"
    requires: ClassVar[str | None] = None
    reference: ClassVar[str] = "brute force"

    def __post_init__(self) -> None:
        """Refuse a limit that no problem is within."""
        check_whole("max_selections", self.max_selections, 1)

    def supports(self, problem: Problem) -> str | None:
        """Give the reason why not, or None: small problems only, pairwise terms too."""
        selections = math.prod(problem.size.tolist()) * 2 ** (0 if problem.rows is None else problem.rows.n_auxiliary)
        if selections > self.max_selections:
            return (
                f"enumerate would have to try {selections:.3g} selections, its limit is {self.max_selections:.3g}: "
                "use 'exact'"
            )
        return None

    def __call__(self, problem: Problem, *, seconds: float, seed: int, warm: NDArray[np.int64] | None) -> Answer:
        """Solve; neither seed nor warm start is used."""
        deadline = time.perf_counter() + seconds
        tail_first = _split(problem)
        tail = _selections(problem, tail_first, problem.n_groups)
        pairs = None if problem.pairs is None else problem.pairs.dense(problem.n_choices)
        tail_value, tail_cost = _totals(problem, tail, pairs)
        tail_activity = 0 if problem.rows is None else problem.rows.activity(problem.n_choices, tail)
        resolution = 4 * problem.n_groups * EPS * float(np.abs(problem.value).max())
        if pairs is not None:
            resolution += 4 * problem.n_groups**2 * EPS * float(np.abs(pairs).max(initial=0))
        # Sums of whole multiples of a unit are not rounded; where values differ in nothing, nor do their sums.
        unrounded = pairs is None and bool(whole_unit(problem) or not spread_of(problem).any())
        unproved = 0.0 if unrounded else resolution
        best, best_value = None, math.inf
        for head in _selections(problem, 0, tail_first):
            if time.perf_counter() > deadline:
                return Answer(best, resolution=resolution)
            value, cost = _totals(problem, head[None], pairs)
            fits = (cost + tail_cost <= problem.budget).all(axis=1)
            if problem.rows is not None:
                activity = problem.rows.activity(problem.n_choices, head[None]) + tail_activity
                fits &= problem.rows.admitted(problem.n_choices, activity)
            across = 0.0 if pairs is None else pairs[head].sum(axis=0)[tail].sum(axis=1)
            total = np.where(fits, value + tail_value + across, math.inf)
            near = np.flatnonzero(fits & (total <= min(best_value, float(total.min())) + resolution))
            for at in near[np.unique(total[near], return_index=True)[1]]:
                selection = np.concatenate([head, tail[at]])
                exact = math.fsum(problem.terms(selection))
                if exact < best_value:
                    best, best_value = selection, exact
        return Answer(best, complete=True, resolution=unproved)


def _split(problem: Problem, block: int = 4096) -> int:
    """The first group of the tail whose selections are tried all at once."""
    first, selections = problem.n_groups, 1
    while first > 0 and selections * int(problem.size[first - 1]) <= block:
        first -= 1
        selections *= int(problem.size[first])
    return first


def _selections(problem: Problem, first: int, last: int) -> NDArray[np.int64]:
    """``(n, last - first)`` every selection of some groups, as positions, in lexicographic order."""
    found = np.zeros((1, 0), dtype=np.int64)
    for group in range(first, last):
        own = np.arange(problem.start[group], problem.start[group + 1])
        found = np.hstack([np.repeat(found, len(own), axis=0), np.tile(own, len(found))[:, None]])
    return found


def _totals(
    problem: Problem, selections: NDArray[np.int64], pairs: NDArray[np.float64] | None
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """``(n,)`` values and ``(n, n_resources)`` costs of partial selections."""
    value = problem.value[selections].sum(axis=1)
    if pairs is not None:
        value = value + pairs[selections[:, :, None], selections[:, None, :]].sum(axis=(1, 2)) / 2
    return value, problem.cost[:, selections].sum(axis=2).T
