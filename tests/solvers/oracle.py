"""What the right answer is, found without the project's code: Python integers and exact rationals only.

Every float64 is an integer over a power of two. Scaling all values of a problem by the largest of these powers makes
them integers, so sums and comparisons here are exact; only the last step back to a float rounds, once, as `math.fsum`.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from fractions import Fraction
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from mckp_quant.solvers import Problem

Cost: TypeAlias = tuple[int, ...]
Choice: TypeAlias = tuple[int, Cost]  # its value as an exact integer, its cost in every resource


@dataclasses.dataclass(frozen=True)
class Exactly:
    """A problem in Python integers; a value is its integer over ``2**shift``."""

    groups: tuple[tuple[Choice, ...], ...]
    budget: Cost
    shift: int

    def number(self, total: int) -> float:
        return total / (1 << self.shift)


@dataclasses.dataclass(frozen=True)
class Selection:
    """One choice of every group, as positions within the groups."""

    value: int
    cost: Cost
    choice: tuple[int, ...]


def exactly(problem: Problem) -> Exactly:
    ratios = [number.as_integer_ratio() for number in problem.value.tolist()]
    shift = max(denominator.bit_length() - 1 for _, denominator in ratios)
    values = [numerator << (shift - denominator.bit_length() + 1) for numerator, denominator in ratios]
    costs = list(zip(*problem.cost.tolist(), strict=True))
    ends = problem.start.tolist()
    flat = list(zip(values, costs, strict=True))
    return Exactly(
        groups=tuple(tuple(flat[low:high]) for low, high in itertools.pairwise(ends)),
        budget=tuple(problem.budget.tolist()),
        shift=shift,
    )


def fits(cost: Cost, budget: Cost) -> bool:
    return all(spent <= allowed for spent, allowed in zip(cost, budget, strict=True))


def add(first: Cost, second: Cost) -> Cost:
    return tuple(a + b for a, b in zip(first, second, strict=True))


def selections(problem: Problem) -> Iterator[Selection]:
    """Every selection, feasible or not."""
    groups = exactly(problem).groups
    for choice in itertools.product(*(range(len(group)) for group in groups)):
        chosen = [group[j] for group, j in zip(groups, choice, strict=True)]
        cost = tuple(sum(each) for each in zip(*(own for _, own in chosen), strict=True))
        yield Selection(sum(value for value, _ in chosen), cost, choice)


def feasible(problem: Problem) -> list[Selection]:
    """Every feasible selection, best first."""
    budget = exactly(problem).budget
    return sorted((one for one in selections(problem) if fits(one.cost, budget)), key=lambda one: one.value)


def optimum(problem: Problem) -> float | None:
    """The least value of a feasible selection, correctly rounded; None where there is none.

    A dictionary from cost to least value, group by group; with one budget, dominated states are dropped.
    """
    exact = exactly(problem)
    least = [tuple(min(costs) for costs in zip(*(cost for _, cost in group), strict=True)) for group in exact.groups]
    left = [tuple(0 for _ in exact.budget)]
    for own in reversed(least):
        left.append(add(left[-1], own))
    left.pop()
    states: dict[Cost, int] = {left[0]: 0}
    for group, rest in zip(exact.groups, reversed(left), strict=True):
        following: dict[Cost, int] = {}
        for spent, total in states.items():
            for value, cost in group:
                after = add(spent, cost)
                if fits(add(after, rest), exact.budget) and following.get(after, total + value + 1) > total + value:
                    following[after] = total + value
        states = undominated(following) if len(exact.budget) == 1 else following
    return exact.number(min(states.values())) if states else None


def undominated(states: dict[Cost, int]) -> dict[Cost, int]:
    kept: dict[Cost, int] = {}
    best: int | None = None
    for cost in sorted(states):
        if best is None or states[cost] < best:
            best = kept[cost] = states[cost]
    return kept


def least_budgets(problem: Problem) -> tuple[int | None, ...]:
    """For each resource the least budget that works while the others stay; None where none does."""
    budget = exactly(problem).budget
    costs = [one.cost for one in selections(problem)]
    least: list[int | None] = []
    for resource in range(len(budget)):
        others = [cost for cost in costs if all(cost[r] <= budget[r] for r in range(len(budget)) if r != resource)]
        least.append(min((cost[resource] for cost in others), default=None))
    return tuple(least)


def dual(problem: Problem, price: NDArray[np.float64]) -> Fraction:
    """The Lagrangian dual function over what can fit and what can be spent, in exact rational arithmetic."""
    exact = exactly(problem)
    rate = [Fraction(each) for each in price.tolist()]
    least, room = _least_and_room(exact)
    total = Fraction(0)
    for own, left, lowest in zip(rate, room, zip(*least, strict=True), strict=True):
        total -= own * (left + sum(lowest))
    for group, own_least in zip(exact.groups, least, strict=True):
        fits = [
            (value, cost)
            for value, cost in group
            if all(each - low <= left for each, low, left in zip(cost, own_least, room, strict=True))
        ]
        total += min(
            Fraction(value, 1 << exact.shift) + sum(own * each for own, each in zip(rate, cost, strict=True))
            for value, cost in fits or group
        )
    return total


def excess(problem: Problem, price: NDArray[np.float64]) -> Fraction:
    """By how much the cheapest selection at a price exceeds what can be spent of the budgets, at that price."""
    exact = exactly(problem)
    rate = [Fraction(each) for each in price.tolist()]
    least, room = _least_and_room(exact)
    total = -sum((own * left for own, left in zip(rate, room, strict=True)), Fraction(0))
    for group, own_least in zip(exact.groups, least, strict=True):
        above = [[each - low for each, low in zip(cost, own_least, strict=True)] for _, cost in group]
        total += min(sum((own * each for own, each in zip(rate, cost, strict=True)), Fraction(0)) for cost in above)
    return total


def _least_and_room(exact: Exactly) -> tuple[list[list[int]], list[int]]:
    """The least costs of each group, and what can be spent above them: a multiple of the divisor of the differences."""
    least = [[min(cost[at] for _, cost in group) for at in range(len(exact.budget))] for group in exact.groups]
    room = []
    for at, limit in enumerate(exact.budget):
        pairs = zip(exact.groups, least, strict=True)
        divisor = math.gcd(*(cost[at] - low[at] for group, low in pairs for _, cost in group))
        left = limit - sum(low[at] for low in least)
        room.append(left - (left % divisor if divisor else 0))
    return least, room
