"""Ranks selections under several budgets: after each one the rest of the problem is split and solved again.

All selections but the best one fall into as many parts as there are groups: part g holds those that agree with it
in the groups before g and differ in g (Murty 1968, *An algorithm for ranking all the assignments in order of
increasing cost*; Lawler 1972, *A procedure for computing the K best solutions to discrete optimization problems*). A
part is solved only when its Lagrangian bound says that it could hold the next best selection.
"""

from __future__ import annotations

import dataclasses
import heapq
import time
from typing import TYPE_CHECKING

import numpy as np

from ..answer import Status
from ..bounds.lagrangian import EPS
from ..front_door import solve
from ..problem.problem import Problem

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LEAST_SECONDS = 0.01


@dataclasses.dataclass(frozen=True, eq=False)
class _Part:
    """Selections that agree with one in the groups before `group` and take none of some choices there."""

    like: NDArray[np.int64]
    group: int
    without: tuple[int, ...]

    def problem(self, whole: Problem) -> Problem:
        """The part as a problem of its own."""
        keep = np.ones(whole.n_choices, dtype=bool)
        keep[: whole.start[self.group]] = False
        keep[self.like[: self.group]] = True
        keep[list(self.without)] = False
        size = np.add.reduceat(keep, whole.start[:-1])
        start = np.concatenate([[0], np.cumsum(size)])
        return Problem(whole.value[keep], whole.cost[:, keep], whole.budget, start, whole.label[keep])


def rank_by_partition(
    problem: Problem, k: int, price: NDArray[np.float64], deadline: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], int, bool]:
    """Find the k best selections of a problem with any number of budgets.

    Parameters
    ----------
    problem
        The problem.
    k
        How many.
    price
        ``(n_resources,)`` float64, for the bounds.
    deadline
        `time.perf_counter` reading at which to stop.

    Returns
    -------
    found
        ``(n, n_groups)`` int64 positions, at most `k` unless time ran out.
    proved
        Those among them that are proved to be the best.
    solves
        How many problems were solved.
    interrupted
        Whether the user stopped it.
    """
    bound, reduced = _bound(problem, price)
    root = _Part(problem.start[:-1], 0, ())
    queue: list[tuple[float, int, _Part, NDArray[np.int64] | None]] = [(bound, 0, root, None)]
    ranked: list[NDArray[np.int64]] = []
    serial, solves, certain, n_proved = 0, 0, True, 0
    interrupted = False
    while queue and len(ranked) < k and not interrupted and (time.perf_counter() < deadline or not ranked):
        _, _, part, choice = heapq.heappop(queue)
        if choice is None:
            solves += 1
            left = max(deadline - time.perf_counter(), _LEAST_SECONDS)
            try:
                solution = solve(part.problem(problem), seconds=left)
            except KeyboardInterrupt:
                if serial == 0:
                    raise
                certain, interrupted = False, True
                continue
            interrupted = bool(solution.stats.get("interrupted"))
            certain &= solution.status in (Status.OPTIMAL, Status.INFEASIBLE)
            if solution.choice is not None:
                serial += 1
                heapq.heappush(queue, (solution.value, serial, part, problem.position(solution.choice)))
            continue
        ranked.append(choice)
        n_proved += certain
        owed = bound + np.concatenate([[0.0], np.cumsum(reduced[choice])])
        for group in range(part.group, problem.n_groups):
            without = (*(part.without if group == part.group else ()), int(choice[group]))
            others = np.delete(
                reduced[problem.start[group] : problem.start[group + 1]], np.array(without) - problem.start[group]
            )
            if len(others):
                serial += 1
                heapq.heappush(queue, (float(owed[group] + others.min()), serial, _Part(choice, group, without), None))
    proved = np.array(ranked[:n_proved], dtype=np.int64).reshape(-1, problem.n_groups)
    waiting = [choice for _, _, _, choice in queue if choice is not None] if len(ranked) < k else []
    found = np.array([*ranked, *waiting], dtype=np.int64).reshape(-1, problem.n_groups)
    return found, proved, solves, interrupted


def _bound(problem: Problem, price: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """The Lagrangian bound, a few roundings lower, and ``(n_choices,)`` reduced costs; costs count from the least."""
    begin = problem.start[:-1]
    above = problem.cost - np.repeat(np.minimum.reduceat(problem.cost, begin, axis=1), problem.size, axis=1)
    penalised = problem.value + price @ above
    least = np.minimum.reduceat(penalised, begin)
    room = problem.budget - np.array(problem.least_cost)
    noise = 4 * EPS * (float(np.maximum.reduceat(np.abs(problem.value) + price @ above, begin).sum()) + price @ room)
    return float(least.sum() - price @ room - noise), penalised - least[problem.group]
