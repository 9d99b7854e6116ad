"""Which budget makes a problem infeasible, and how much larger each of them, or all together, would have to be."""

from __future__ import annotations

import dataclasses
import math
import time
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from ..front_door import solve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..answer import Solver
    from ..problem.problem import Problem
    from ..solution import LeastBudgets

_CHECK_EVERY = 4  # of so many trials one asks whether the best factor so far is the least; the others bisect
_NAMED = 3  # groups named in a sentence


@dataclasses.dataclass(frozen=True)
class Shortfall:
    """Whether one budget makes the problem infeasible, and what would be enough.

    Attributes
    ----------
    budget
        The limit.
    least
        The least cost of any selection, whatever the other budgets say.
    least_budget
        The least budget that works while the others stay; None where they rule every selection out.
    pinned
        The groups whose single choice costs something, by falling cost.
    pinned_cost
        What these cost together.
    proved
        False where time ran out: less than `least_budget` may work too, or some budget where it is None.
    """

    budget: int
    least: int
    least_budget: int | None
    pinned: tuple[int, ...]
    pinned_cost: int
    proved: bool = True

    @property
    def forced(self) -> bool:
        """Whether the groups with a single choice exceed the budget on their own."""
        return self.pinned_cost > self.budget

    def sentences(self, name: str, groups: Sequence[str] | None = None) -> list[str]:
        """The same in words; `name` is what the budget is called, `groups` what the groups are."""
        if self.least_budget is None:
            none = "no budget works" if self.proved else "no budget that works was found in time"
            lines = [f"{name}: {none} while the others stay (it is {self.budget:,})."]
        else:
            more = self.least_budget - self.budget
            least = "the least that works" if self.proved else "the least found in time"
            lines = [
                f"{name}: the budget is {self.budget:,}; {least} while the others stay is "
                f"{self.least_budget:,}, {more:,} more."
            ]
        if self.pinned:
            named = ", ".join(f"group {each}" if groups is None else groups[each] for each in self.pinned[:_NAMED])
            lines.append(
                f"{name}: {len(self.pinned)} groups have a single choice and cost {self.pinned_cost:,} of the least "
                f"possible {self.least:,}{', more than the budget on their own' if self.forced else ''}; "
                f"the dearest: {named}."
            )
        return lines


def shortfall_of(problem: Problem, least: LeastBudgets, resource: int) -> Shortfall:
    """The shortfall of one budget of an infeasible problem."""
    single = np.flatnonzero(problem.size == 1)
    cost = problem.cost[resource, problem.start[single]]
    dearest = np.argsort(-cost, kind="stable")[: np.count_nonzero(cost)]
    return Shortfall(
        budget=int(problem.budget[resource]),
        least=problem.least_cost[resource],
        least_budget=least.budget[resource],
        pinned=tuple(single[dearest].tolist()),
        pinned_cost=sum(cost.tolist()),
        proved=resource not in least.unproved,
    )


def least_factor(problem: Problem, solver: Solver | str, deadline: float) -> tuple[Fraction | None, bool]:
    """The least factor by which all budgets must grow together, by bisection, and whether the user interrupted.

    None where no factor is found to work. A factor is the least when budgets one unit short of it do not work; once
    time is up or the user interrupts it is the least that was found.
    """
    budget = problem.budget.tolist()
    most = np.maximum.reduceat(problem.cost, problem.start[:-1], axis=1).sum(axis=1).tolist()
    positive = [resource for resource, limit in enumerate(budget) if limit > 0]
    if any(least > limit for least, limit in zip(problem.least_cost, budget, strict=True) if limit <= 0):
        return None, False
    share = np.zeros(problem.n_choices)
    for resource in positive:
        share += problem.cost[resource] / budget[resource]
    guide, interrupted = dataclasses.replace(problem, value=share), False

    def factor_of(limits: dict[int, int]) -> Fraction | None:
        grown = [min(limits.get(resource, limit), most[resource]) for resource, limit in enumerate(budget)]
        nonlocal interrupted
        try:
            found = solve(guide.with_budget(grown), solver, seconds=max(deadline - time.perf_counter(), 0.01))
        except KeyboardInterrupt:
            interrupted = True
            return None
        interrupted |= bool(found.stats.get("interrupted"))
        if found.choice is None:
            return None
        return max(Fraction(found.cost[resource], budget[resource]) for resource in positive)

    high = factor_of({resource: most[resource] for resource in positive}) if positive else None
    low = max((Fraction(problem.least_cost[each], budget[each]) for each in positive), default=Fraction(0))
    step = 0
    while high is not None and high > low and not interrupted and time.perf_counter() < deadline:
        trial = (low + high) / 2 if step else low
        if step % _CHECK_EVERY == _CHECK_EVERY - 1:
            found = factor_of({each: math.ceil(high * budget[each]) - 1 for each in positive})
            if found is None:
                break
            high = found
        else:
            found = factor_of({each: math.floor(trial * budget[each]) for each in positive})
            low, high = (trial, high) if found is None else (low, found)
        step += 1
    return high, interrupted
