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
from ..front_door import least_budgets
from ..problem.arguments import check_seconds
from .cheapest import least_cost
from .shortfall import Shortfall, least_factor, shortfall_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from fractions import Fraction

    from ..answer import Solver
    from ..problem.problem import Problem
    from ..solution import Solution

_SHARE_OF_LEAST = 0.5  # of the time: for the least budgets of an infeasible problem


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
    interrupted
        The user stopped it: the next useful budgets and the least factor are what was known by then.
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
    interrupted: bool = False

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
                f"No common factor {'is known to make' if self.interrupted else 'makes'} the budgets work."
                if self.least_factor is None
                else f"Together, all budgets would have to be {_rounded_up(self.least_factor)} times as large."
            )
        if self.interrupted:
            lines.append("Stopped by the user before everything was known.")
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

    On Ctrl-C the explanation says what is known by then (`Explanation.interrupted`).

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
        least = least_budgets(problem, _SHARE_OF_LEAST * seconds)
        shortfalls = tuple(shortfall_of(problem, least, resource) for resource in range(problem.n_resources))
        basics = dataclasses.replace(basics, shortfalls=shortfalls, interrupted=least.interrupted)
        if least.interrupted:
            return basics
        factor, interrupted = least_factor(problem, solver, deadline)
        return dataclasses.replace(basics, least_factor=factor, interrupted=interrupted)
    if solution.choice is None:
        return basics
    problem.position(solution.choice)
    # Not the certificate's prices: those leave out choices that a larger budget would let in.
    try:
        prices = best_price(problem, np.ones(problem.n_choices, dtype=bool), deadline)
    except KeyboardInterrupt:
        return dataclasses.replace(basics, interrupted=True)
    worths = [Worth(*each) for each in zip(solution.budget, solution.cost, prices.tolist(), strict=True)]
    interrupted = False
    try:
        for resource, worth in enumerate(worths):
            worths[resource], interrupted = _next(problem, solution, resource, worth, solver, deadline)
            if interrupted:
                break
    except KeyboardInterrupt:
        interrupted = True
    return dataclasses.replace(basics, worths=tuple(worths), interrupted=interrupted)


def _next(
    problem: Problem, solution: Solution, resource: int, worth: Worth, solver: Solver | str, deadline: float
) -> tuple[Worth, bool]:
    """With the next budget that helps, and whether the user interrupted."""
    if solution.status is not Status.OPTIMAL or time.perf_counter() > deadline:
        return worth, False
    below = math.nextafter(solution.value - solution.certificate.tolerance, -math.inf)
    left = max(deadline - time.perf_counter(), 0.01)
    try:
        least = least_cost(problem, below, resource=resource, solver=solver, seconds=left)
    except NoSolution:
        return worth, False
    if least.cost > worth.budget:  # otherwise a difference that the certificate counts as rounding
        worth = dataclasses.replace(worth, next_budget=least.cost, saving=solution.value - least.solution.value)
    return worth, least.interrupted


def _name(resources: Sequence[str] | None, index: int) -> str:
    return f"budget {index}" if resources is None else resources[index]


def _rounded_up(factor: Fraction) -> str:
    return f"{math.ceil(factor * 10**6) / 10**6:.6f}"
