"""Exact solvers of our own: reduction and core dynamic programming, and the brute-force oracle."""

from __future__ import annotations

import dataclasses
import math
import time
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .bound import farkas_price
from .core import CoreResult, search_core
from .cp_sat import CpSat
from .errors import InvalidProblem, missing
from .lagrangian import EPS
from .lists import search_lists
from .reduce import reduce
from .rows import refusal
from .solution import Answer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .problem import Problem
    from .reduce import Reduction

# With one budget, the states of the first search by dynamic programming, and of the lists that follow it.
_ONE_BUDGET_STATES = (3000, 50_000)
# With several budgets, lists and CP-SAT (where it is installed) take turns: the states and seconds of the first turn,
# and how many times more every next turn has.
_FIRST_STATES = 250_000
_FIRST_SECONDS = 1.0
_MORE_STATES, _MORE_SECONDS = 5, 2


@dataclasses.dataclass(frozen=True)
class Exact:
    """Reduce to the core, then search it to the end: dynamic programming, or state lists where budgets are several.

    Where lists grow long, they take turns with CP-SAT, which receives the core that is left and the best selection.

    Attributes
    ----------
    max_states
        How many states the search may keep, about 8 bytes each; beyond it the answer is FEASIBLE with a true gap.
    """

    max_states: int = 10**7
    name: ClassVar[str] = "exact"
    requires: ClassVar[str | None] = None
    reference: ClassVar[str] = (
        "Pisinger (1995), A minimal algorithm for the multiple-choice knapsack problem, EJOR 83, 394-410"
    )

    def __post_init__(self) -> None:
        """Refuse a limit that no list fits in."""
        if self.max_states < 1:
            raise InvalidProblem(f"max_states = {self.max_states}: it must be at least 1")

    def supports(self, problem: Problem) -> str | None:
        """Give the reason why not, or None: every problem without further rows is taken."""
        return refusal(problem, self.name)

    def __call__(self, problem: Problem, *, seconds: float, seed: int, warm: NDArray[np.int64] | None) -> Answer:
        """Solve; deterministic, so the seed is not used."""
        deadline = time.perf_counter() + seconds
        reduction = reduce(problem, warm)
        if reduction.incumbent is None and farkas_price(problem) is not None:
            return Answer(None, complete=True)
        if problem.n_resources == 1:
            return _answer(reduction, self._one_budget(reduction, deadline))
        answer = self._several_budgets(problem, reduction, deadline)
        if reduction.incumbent is None and answer.choice is not None and answer.complete:
            # Without an incumbent nothing was fixed, and rounding is that of the largest values of all groups. Now
            # that there is one, the same search is short, and as sharp as the values that matter.
            again = self._several_budgets(problem, reduce(problem, answer.choice), deadline)
            return again if again.complete else answer
        return answer

    def _one_budget(self, reduction: Reduction, deadline: float) -> CoreResult:
        """Most cores are searched in a moment one way; of those that are not, most are in a moment the other way."""
        core, price, gap = reduction.core, reduction.price, reduction.gap
        position: NDArray[np.int64] | None = None
        states, complete = 0, reduction.closed
        first = _ONE_BUDGET_STATES[0] + 10 * len(core.group)
        for turn, limit in enumerate((first, _ONE_BUDGET_STATES[1], self.max_states)):
            if complete or states >= self.max_states:
                break
            limits = min(limit, self.max_states - states), deadline
            if turn == 1:
                result = search_lists(core, price, gap, reduction.least_gain, *limits)
            else:
                result = search_core(core, float(price[0]), gap, reduction.least_gain, *limits)
            if result.position is not None:
                position, gap = result.position, result.gap
            states, complete = states + result.states, result.complete
        return CoreResult(position, gap, complete, states)

    def _several_budgets(self, problem: Problem, reduction: Reduction, deadline: float) -> Answer:
        """Lists and CP-SAT in turns, each time with more patience: either may be the one that gets stuck."""
        general = CpSat()
        general_can = (
            self.max_states > _FIRST_STATES and missing("ortools") is None and general.supports(problem) is None
        )
        limit = min(self.max_states, _FIRST_STATES) if general_can else self.max_states
        patience = _FIRST_SECONDS
        stats: dict[str, Any] = {"states": 0}
        while True:
            answer = self._by_lists(reduction, limit, deadline)
            stats |= {**answer.stats, "states": stats["states"] + answer.stats["states"]}
            last = limit >= self.max_states
            left = deadline - time.perf_counter()
            if not answer.complete and left > 0 and general_can:
                own = answer.choice
                answer = general(problem, seconds=left if last else min(left, patience), seed=0, warm=own)
                stats |= {**answer.stats, "states": stats["states"]}
                left = deadline - time.perf_counter()
            if answer.complete or left <= 0 or last:
                return dataclasses.replace(answer, stats=stats)
            reduction = reduce(problem, answer.choice)
            limit, patience = min(self.max_states, _MORE_STATES * limit), _MORE_SECONDS * patience

    def _by_lists(self, reduction: Reduction, limit: int, deadline: float) -> Answer:
        if reduction.closed:
            return _answer(reduction, CoreResult(None, reduction.gap, complete=True, states=0))
        return _answer(
            reduction,
            search_lists(reduction.core, reduction.price, reduction.gap, reduction.least_gain, limit, deadline),
        )


def _answer(reduction: Reduction, result: CoreResult) -> Answer:
    choice = reduction.incumbent if result.position is None else reduction.expand(result.position)
    stats = {
        "core_groups": len(reduction.core.group),
        "core_choices": len(reduction.core.position),
        "states": result.states,
    }
    return Answer(choice, result.complete, reduction.price, reduction.noise, stats)


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
        if self.max_selections < 1:
            raise InvalidProblem(f"max_selections = {self.max_selections}: it must be at least 1")

    def supports(self, problem: Problem) -> str | None:
        """Give the reason why not, or None: small problems only."""
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
        tail_value, tail_cost = _totals(problem, tail)
        tail_activity = 0 if problem.rows is None else problem.rows.activity(problem.n_choices, tail)
        resolution = 4 * problem.n_groups * EPS * float(np.abs(problem.value).max())
        best, best_value = None, math.inf
        for head in _selections(problem, 0, tail_first):
            if time.perf_counter() > deadline:
                return Answer(best, resolution=resolution)
            value, cost = _totals(problem, head[None])
            fits = (cost + tail_cost <= problem.budget).all(axis=1)
            if problem.rows is not None:
                activity = problem.rows.activity(problem.n_choices, head[None]) + tail_activity
                fits &= problem.rows.admitted(problem.n_choices, activity)
            total = np.where(fits, value + tail_value, math.inf)
            near = np.flatnonzero(fits & (total <= min(best_value, float(total.min())) + resolution))
            for at in near[np.unique(total[near], return_index=True)[1]]:
                selection = np.concatenate([head, tail[at]])
                exact = math.fsum(problem.value[selection].tolist())
                if exact < best_value:
                    best, best_value = selection, exact
        return Answer(best, complete=True, resolution=resolution)


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


def _totals(problem: Problem, selections: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """``(n,)`` values and ``(n, n_resources)`` costs of partial selections."""
    return problem.value[selections].sum(axis=1), problem.cost[:, selections].sum(axis=2).T
