"""Explains an answer: what each budget is worth, or which budgets make the problem infeasible and what would fit."""

from __future__ import annotations

import dataclasses
import math
import time
from typing import TYPE_CHECKING

import numpy as np

from ..answer import Status
from ..bounds.bound import best_price
from ..errors import InvalidProblem, NoSolution
from ..problem.arguments import check_seconds
from .cheapest import least_cost
from .shortfall import Shortfall, least_factor, shortfall_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from fractions import Fraction

    from ..answer import Solver
    from ..problem.problem import Problem
    from ..solution import Solution


@dataclasses.dataclass(frozen=True)
class Worth:
    """What one budget is worth to a selection.

    Attributes
    ----------
    budget, used
        The limit, and what the selection costs.
    price
        The shadow price: the value that one more unit saves at the margin of the linear relaxation.
    next_budget
        The least budget, the others as they are, under which the value is lower; None where none lowers it, or where
        the selection is not proved optimal.
    saving
        By how much it is lower there.
    """

    budget: int
    used: int
    price: float
    next_budget: int | None = None
    saving: float | None = None

    @property
    def slack(self) -> int:
        """What is left of the budget."""
        return self.budget - self.used

    def sentences(self, name: str) -> list[str]:
        """The same in words; `name` is what the budget is called."""
        lines = [f"{name}: {self.used:,} of {self.budget:,} used, {self.slack:,} left."]
        if self.price > 0:
            lines.append(f"{name}: one more unit saves about {self.price:.3g} at the margin.")
        else:
            lines.append(f"{name}: this budget does not limit the value at the margin.")
        if self.next_budget is not None and self.saving is not None:
            more = self.next_budget - self.budget
            lines.append(
                f"{name}: the next budget that helps is {self.next_budget:,}, {more:,} more; "
                f"it saves {self.saving:.3g}, {self.saving / more:.3g} per unit."
            )
        return lines


@dataclasses.dataclass(frozen=True)
class Explanation:
    """What an answer means.

    Attributes
    ----------
    status
        What is known of the answer.
    value, bound
        Of the solution; no feasible selection is below the bound.
    worths
        One per budget; empty without a selection.
    shortfalls
        One per budget of an infeasible problem; empty otherwise.
    least_factor
        The least number by which all budgets of an infeasible problem must be multiplied together (and rounded down)
        for a selection to fit; None where no factor does, and for other problems.
    """

    status: Status
    value: float
    bound: float
    worths: tuple[Worth, ...] = ()
    shortfalls: tuple[Shortfall, ...] = ()
    least_factor: Fraction | None = None

    def sentences(self, resources: Sequence[str] | None = None, groups: Sequence[str] | None = None) -> list[str]:
        """Readable lines with numbers.

        Parameters
        ----------
        resources
            What the budgets are called, such as ``["weight_bytes"]``.
        groups
            What the groups are called, such as the names of layers.

        Returns
        -------
        lines
            One sentence each.
        """
        lines = [f"{self.status.value[0].upper()}{self.status.value[1:]}{self._numbers()}."]
        for index, worth in enumerate(self.worths):
            lines += worth.sentences(_name(resources, index))
        for index, shortfall in enumerate(self.shortfalls):
            lines += shortfall.sentences(_name(resources, index), groups)
        if self.shortfalls:
            lines.append(
                "No common factor makes the budgets work."
                if self.least_factor is None
                else f"Together, all budgets would have to be {_rounded_up(self.least_factor)} times as large."
            )
        return lines

    def _numbers(self) -> str:
        if self.status is Status.OPTIMAL:
            return f": the value is {self.value:.6g}"
        if self.status is Status.FEASIBLE:
            return f": the value is {self.value:.6g}, at most {self.value - self.bound:.3g} above the best possible"
        return "" if self.status is Status.INFEASIBLE else f": the value cannot be below {self.bound:.6g}"


def explain(
    problem: Problem, solution: Solution, *, solver: Solver | str = "auto", seconds: float = 60.0
) -> Explanation:
    """Explain an answer: what the budgets are worth, or what would make an infeasible problem feasible.

    Parameters
    ----------
    problem
        The problem.
    solution
        Its answer.
    solver
        What solves the problems under other budgets.
    seconds
        Wall time for all of them; when it runs out, the next useful budgets may be larger than need be or missing, and
        the least factor may be larger.

    Returns
    -------
    explanation
        The numbers, and `Explanation.sentences`.

    Raises
    ------
    InvalidProblem
        When the solution is not of this problem, or the problem has pairwise terms.
    """
    check_seconds(seconds)
    if solution.budget != tuple(problem.budget.tolist()):
        raise InvalidProblem(
            f"the solution is for the budgets {list(solution.budget)}, the problem has {problem.budget.tolist()}"
        )
    if problem.pairs is not None:
        raise InvalidProblem("explain takes no pairwise terms: leave them out, or solve under other budgets")
    deadline = time.perf_counter() + seconds
    basics = Explanation(solution.status, solution.value, solution.bound)
    if solution.status is Status.INFEASIBLE:
        shortfalls = tuple(shortfall_of(problem, solution, resource) for resource in range(problem.n_resources))
        return dataclasses.replace(basics, shortfalls=shortfalls, least_factor=least_factor(problem, solver, deadline))
    if solution.choice is None:
        return basics
    problem.position(solution.choice)
    # Not the certificate's prices: those leave out choices that a larger budget would let in.
    prices = best_price(problem, np.ones(problem.n_choices, dtype=bool))
    worths = tuple(
        _worth(problem, solution, each, float(prices[each]), solver, deadline) for each in range(len(prices))
    )
    return dataclasses.replace(basics, worths=worths)


def _worth(
    problem: Problem, solution: Solution, resource: int, price: float, solver: Solver | str, deadline: float
) -> Worth:
    worth = Worth(solution.budget[resource], solution.cost[resource], price)
    if solution.status is not Status.OPTIMAL or time.perf_counter() > deadline:
        return worth
    below = math.nextafter(solution.value - solution.certificate.tolerance, -math.inf)
    left = max(deadline - time.perf_counter(), 0.01)
    try:
        least = least_cost(problem, below, resource=resource, solver=solver, seconds=left)
    except NoSolution:
        return worth
    if least.cost <= worth.budget:  # a difference that the certificate counts as rounding
        return worth
    return dataclasses.replace(worth, next_budget=least.cost, saving=solution.value - least.solution.value)


def _name(resources: Sequence[str] | None, index: int) -> str:
    return f"budget {index}" if resources is None else resources[index]


def _rounded_up(factor: Fraction) -> str:
    return f"{math.ceil(factor * 10**6) / 10**6:.6f}"
