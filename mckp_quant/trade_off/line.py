"""One request under one limit after another on a single budget, everything else of it as it is."""

from __future__ import annotations

import dataclasses
import time
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from ..allocation.builder import build_request
from ..allocation.explanation import require_each_budget
from ..allocation.left_in_float import as_indexed
from ..costs.costs import PEAKS, RESOURCES, VARIANTS
from ..errors import InvalidInput
from ..solvers import Status, solve

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from ..allocation.index import Index
    from ..allocation.request import Request
    from ..costs.costs import Budget
    from ..solvers import Problem, Solution
    from ..tables.table import SensitivityTable

_SHARE = 0.1  # of the time that is left, for one solve: one hard budget must not cost all the others
_LEAST_SECONDS = 0.05
_CLOSE = 1000  # the least use is known to one part in so many, where it takes solves to find it
WHOLE = "100%"  # of the costliest allowed formats: never less than what a policy takes


class Line:
    """The problems of a request along one budget.

    Parameters
    ----------
    table
        The table.
    request
        What is asked; its limit on the budget is lifted.
    along
        The budget.
    seconds
        Wall time for all solves together.

    Attributes
    ----------
    problem, index
        The problem without a limit on that budget, and what it means.

    Raises
    ------
    InvalidInput
        When the budget is a peak, or the request makes no sense.
    NoSolution
        When the other budgets cannot be met.
    """

    def __init__(self, table: SensitivityTable, request: Request, along: str, seconds: float) -> None:
        if along in PEAKS:
            raise InvalidInput(
                f"along = {along!r} is a peak: give a budget that adds up over the layers, such as 'weight_bytes'; a "
                "peak may stand among the budgets of the request"
            )
        self._request = dataclasses.replace(request, budgets={**request.budgets, along: WHOLE})
        self._deadline = time.perf_counter() + seconds
        self.problem, self.index = build_request(table, self._request)
        self.table = as_indexed(table, self.index)
        self._row = next(at for at, each in enumerate(self.index.budgets) if each.name == along and not each.least)
        self._edges = [each for each in self.index.conversions if each.resource == along]
        if self._edges:  # they come on top of what the layers take
            self.problem, self.index = self._built(self.most)
        require_each_budget(self.problem, self.index)

    @property
    def budget(self) -> Budget:
        """The budget of the line."""
        return self.index.budgets[self._row]

    @property
    def most(self) -> int:
        """What no policy exceeds."""
        cost = self.problem.cost[self._row]
        layers = sum(map(int, np.maximum.reduceat(cost, self.problem.start[:-1])))
        return layers + sum(_most(each.cost) * len(each.edges) for each in self._edges)

    def is_over(self) -> bool:
        """Whether the time is up."""
        return time.perf_counter() >= self._deadline

    def under(self, limit: int, warm: Solution | None = None) -> Solution:
        """The best policy that uses at most so much, as far as the time allows to find it.

        Parameters
        ----------
        limit
            In what the budget counts.
        warm
            An answer from which to start.

        Returns
        -------
        solution
            The answer; `used` says what it takes.
        """
        start = None if warm is None else warm.choice
        return solve(self._within(limit), seconds=self._seconds(), warm=start)

    def used(self, solution: Solution) -> int:
        """What an answer takes of the budget, conversions counted."""
        return self.taken(solution.choice)

    def taken(self, labels: NDArray[np.int64] | None) -> int:
        """What a selection takes of the budget, conversions counted."""
        assert labels is not None
        at = self.problem.position(labels)
        total = int(self.problem.cost[self._row, at].sum())
        if not self._edges:
            return total
        chosen = dict(zip(self.index.layer_names, self.index.policy_formats(labels), strict=True))
        return total + sum(each.total(chosen) for each in self._edges)

    def is_within_others(self, labels: NDArray[np.int64]) -> bool:
        """Whether a selection is within the other budgets."""
        cost = self.problem.cost[:, self.problem.position(labels)].sum(axis=1)
        return bool((np.delete(cost, self._row) <= np.delete(self.problem.budget, self._row)).all())

    def cheapest(self, top: Solution) -> Solution:
        """The best of the policies that use the least.

        Parameters
        ----------
        top
            An answer without a limit, whose use is halved where conversions count in the budget.

        Returns
        -------
        solution
            The answer. Where conversions count, one whose use is within a thousandth of the least.
        """
        if not self._edges:
            cost = self.problem.cost[self._row].astype(np.float64)
            shortest = self.problem.equivalent(value=cost, cost=self.problem.cost, budget=self.problem.budget)
            found = solve(shortest, seconds=self._seconds(), warm=top.choice)
            return top if found.choice is None else self._best(self.used(found), found)
        best, low = top, self.problem.least_cost[self._row] - 1
        while self.used(best) - low > max(self.used(best) // _CLOSE, 1) and not self.is_over():
            middle = (low + self.used(best)) // 2
            found = self.under(middle)
            if found.choice is None:
                low = middle
            else:
                best = found
        return best

    def _best(self, limit: int, cheapest: Solution) -> Solution:
        found = self.under(limit, cheapest)
        return cheapest if found.status is Status.UNKNOWN else found

    def _seconds(self) -> float:
        return max(_SHARE * (self._deadline - time.perf_counter()), _LEAST_SECONDS)

    def _within(self, limit: int) -> Problem:
        if self._edges:  # their rows hold the limit too
            return self._built(limit)[0]
        budget = self.problem.budget.tolist()
        budget[self._row] = limit
        return self.problem.with_budget(budget)

    def _built(self, limit: int) -> tuple[Problem, Index]:
        kind = (RESOURCES | VARIANTS).get(self.budget.name)
        amount = Fraction(limit, self.budget.n_weights) if kind is not None and kind.per_weight else limit
        budgets = {**self._request.budgets, self.budget.name: amount}
        return build_request(self.table, dataclasses.replace(self._request, budgets=budgets))


def _most(cost: Mapping[tuple[str, str], int] | int) -> int:
    return cost if isinstance(cost, int) else max(cost.values(), default=0)
