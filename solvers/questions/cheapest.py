"""Finds the least cost at which the value stays within a limit."""

from __future__ import annotations

import dataclasses
import math
import time
from typing import TYPE_CHECKING

import numpy as np

from ..answer import Status
from ..errors import InvalidProblem, NoSolution
from ..front_door import solve, unproved
from ..problem.arguments import check_seconds, is_finite
from .pareto import check_resource

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..answer import Solver
    from ..problem.problem import Problem
    from ..solution import Solution

_BISECT_EVERY = 4  # guesses are good but promise nothing; bisection ends


@dataclasses.dataclass(frozen=True, eq=False)
class LeastCost:
    """The cheapest selection whose value stays within a limit, and the proof that nothing cheaper does so.

    Attributes
    ----------
    max_value
        The limit.
    resource
        Which cost is least.
    cost
        The least cost.
    solution
        The best selection under a budget of exactly that cost; it costs no less.
    below
        The answer under a budget of one unit less: infeasible, or above the limit.
    solves
        How many problems were solved on the way.
    interrupted
        The user stopped it, and the cost is the least that was found.
    """

    max_value: float
    resource: int
    cost: int
    solution: Solution
    below: Solution
    solves: int
    interrupted: bool = False

    @property
    def proved(self) -> bool:
        """Whether one unit less is proved not to be enough; False only where a solver ran out of time or states."""
        return self.below.bound > self.max_value


def least_cost(
    problem: Problem,
    max_value: float,
    *,
    resource: int = 0,
    solver: Solver | str = "auto",
    seconds: float = 60.0,
) -> LeastCost:
    """Find the smallest budget of one resource under which the value stays within a limit.

    The optimal value falls as the budget grows, so bisection over the budget is exact. The price of each certificate
    says where the next budget can lie (a step of Newton's method on the Lagrangian bound), which leaves few of them.

    Parameters
    ----------
    problem
        The problem. Its budget of that resource is lifted; the other budgets hold.
    max_value
        The most that the value may be.
    resource
        Which cost to make small.
    solver
        What solves each problem; see `solve`.
    seconds
        Wall time for all of it; when it is up, the cost is the least that was found, and `LeastCost.proved` is False.

    Returns
    -------
    least
        The least cost, its selection, and the proof; values count as different where their sums, rounded once, are.

    Raises
    ------
    InvalidProblem
        When an argument makes no sense.
    NoSolution
        When no selection stays within the limit; the message gives the least value there is.
    KeyboardInterrupt
        When the user interrupts before a selection within the limit is known; later the least cost that was found is
        the answer.
    """
    check_resource(problem, resource)
    check_seconds(seconds)
    if problem.pairs is not None:
        raise InvalidProblem("least_cost takes no pairwise terms: leave them out, or solve one budget after another")
    if not is_finite(max_value):
        raise InvalidProblem(f"max_value is {max_value!r}: it must be a finite number")
    search = _Search(problem, resource, solver, time.perf_counter() + seconds)
    cost = problem.cost[resource]
    reached = search.under(sum(np.maximum.reduceat(cost, problem.start[:-1]).tolist())).require()
    if reached.value > max_value and search.interrupted:
        raise KeyboardInterrupt
    if reached.value > max_value:
        raise NoSolution(
            f"no selection has a value of at most {max_value}: the least is {reached.value}"
            if reached.status is Status.OPTIMAL
            else f"no selection with a value of at most {max_value} was found: the best found has {reached.value}, and "
            f"none is below {reached.bound}; give it more seconds"
        )
    base, unit = problem.least_cost[resource], _unit(problem, resource)
    low, last = base - unit, reached  # budgets below low + unit are not enough
    while (high := reached.cost[resource]) - low > unit and not search.is_over():
        middle = low + (high - low) // (2 * unit) * unit
        guesses = [] if search.solves % _BISECT_EVERY == 0 else _guesses(last, resource, max_value)
        guess = next((each for each in guesses if low < each < high), middle)
        last = search.under(min(base - (base - guess) // unit * unit, high - unit))  # rounded up to the grid of costs
        if last.choice is None and search.is_over():
            break
        if last.value <= max_value:
            reached = last
        else:
            low = last.budget[resource]
    solution, below = search.last(high, reached), search.last(high - 1)
    return LeastCost(max_value, resource, high, solution, below, search.solves, search.interrupted)


@dataclasses.dataclass
class _Search:
    """One problem under one budget after another.

    An interrupt ends the solve that it falls in, and with it the search; one that falls between solves does so, too.
    """

    problem: Problem
    resource: int
    solver: Solver | str
    deadline: float
    solves: int = 0
    interrupted: bool = False
    price: NDArray[np.float64] | None = None

    def is_over(self) -> bool:
        """Whether time is up or the user interrupted."""
        return self.interrupted or time.perf_counter() >= self.deadline

    def within(self, limit: int) -> Problem:
        """The problem under this budget."""
        budget = self.problem.budget.tolist()
        budget[self.resource] = limit
        return self.problem.with_budget(budget)

    def under(self, limit: int, warm: Solution | None = None) -> Solution:
        """The answer under this budget."""
        self.solves += 1
        problem, left = self.within(limit), max(self.deadline - time.perf_counter(), 0.01)
        try:
            found = solve(problem, self.solver, seconds=left, warm=None if warm is None else warm.choice)
        except KeyboardInterrupt:
            if self.price is None:
                raise
            found = unproved(problem, None, self.price)
            self.interrupted = True
        self.interrupted |= bool(found.stats.get("interrupted"))
        if found.status is not Status.INFEASIBLE:
            self.price = found.certificate.price
        return found

    def last(self, limit: int, known: Solution | None = None) -> Solution:
        """The answer under this budget; once time is up, what is known, with what the last price proves."""
        if not self.is_over() or self.price is None:
            return self.under(limit, known)
        return unproved(self.within(limit), None if known is None else known.choice, self.price)


def _unit(problem: Problem, resource: int) -> int:
    """The common divisor of all differences of cost within groups, at least 1."""
    cost = problem.cost[resource]
    return max(int(np.gcd.reduce(cost - cost[problem.start[:-1]][problem.group])), 1)


def _guesses(solution: Solution, resource: int, max_value: float) -> list[int]:
    """Budgets to try next, at the price of the last one: where the bound meets the limit, and where the value does."""
    price = float(solution.certificate.price[resource])
    if solution.choice is None or price <= 0:
        return []
    steps = [(each - max_value) / price for each in (solution.certificate.bound, solution.value)]
    return [solution.budget[resource] + math.ceil(step) for step in steps if math.isfinite(step)]
