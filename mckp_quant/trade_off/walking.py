"""Walks along one budget: solves under limit after limit, each time where the trade-off is known least."""

from __future__ import annotations

import dataclasses
import heapq
import itertools
import math
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ..allocation.allocating import allocate, as_policy
from ..allocation.explanation import why_none
from ..allocation.request import as_request
from ..common.checks import check_count, check_seconds
from ..errors import InvalidInput
from ..policy.policy import Policy
from ..solvers import NoSolution, Status
from ..tables.table import SensitivityTable
from .fronts import Front
from .line import WHOLE, Line
from .point import Point, point_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from ..allocation.request import Pins, Request
    from ..common.amounts import Amount
    from ..formats.format import Format
    from ..solvers import Solution

MOST_POINTS = 200


def front(
    table: SensitivityTable,
    request: Request | Mapping[str, Amount] | None = None,
    *,
    along: str = "weight_bytes",
    target: str | None = None,
    pinned: Pins | None = None,
    max_points: int = MOST_POINTS,
    seconds: float = 60.0,
) -> Front:
    """What every amount of a budget buys: the trade-off of predicted loss against one budget.

    The request is solved under one limit after another, each time between the two neighbours that are farthest apart
    in use or in predicted loss, on logarithmic scales where all numbers are positive. So everything in the request
    holds, each answer has its proof, and a front that is short enough is found whole.

    Parameters
    ----------
    table
        The sensitivities.
    request
        A `Request`, or in short a mapping of budgets; its limit on `along`, if any, is where `Front.chosen` lies, and
        is lifted for the front. None, or ``"100%"`` of `along` alone, where nothing is limited.
    along
        The budget, such as ``"weight_bytes"``, ``"bops"`` or one of the request's costs; no peak.
    target, pinned
        Beside a mapping or None, see `Request`.
    max_points
        How many points there may be, from 2 to 200.
    seconds
        The time limit. When it is up, the front has the points that were found by then, and `Front.error` says how far
        they are proved.

    Returns
    -------
    front
        The points, the uniform policies and the chosen one.

    Raises
    ------
    InvalidInput
        When an argument cannot be used.
    NoSolution
        When no policy is within the other budgets, or none within the request's own; or none was found in time.
    """
    check_count("max_points", max_points, 2, MOST_POINTS)
    check_seconds(seconds)
    if not isinstance(table, SensitivityTable):
        raise InvalidInput(
            f"table is a {type(table).__name__}: give a SensitivityTable, such as read_table(path).table makes"
        )
    asked = as_request(request or {along: WHOLE}, target=target, pinned=pinned)
    limited = bool(asked.at_least) or dict(asked.budgets) != {along: WHOLE}
    line = Line(table, asked, along, seconds)
    found, complete = _walk(line, max_points)
    chosen = _chosen(table, asked, line, seconds) if limited else None
    limit = None
    if limited and along in asked.budgets and chosen is not None:
        limit = next(each.limit for each in chosen.policy.budgets if each.name == along and not each.least)
    return Front(
        points=tuple(_point(line, each) for each in found),
        uniforms=tuple(sorted(_uniforms(line), key=lambda point: point.used)),
        chosen=chosen,
        budget=line.budget,
        limit=limit,
        error=max(_excess(line, each) for each in found),
        complete=complete,
        table=table,
        request=asked,
    )


def _walk(line: Line, max_points: int) -> tuple[list[Solution], bool]:
    """The answers by rising use, and whether there are no others."""
    top = line.under(line.most)
    if top.choice is None:
        raise NoSolution(why_none(top, line.index))
    known = {line.used(each): each for each in (top, line.cheapest(top))}
    scale = _Scale(min(known), max(known), known)
    turn = itertools.count()  # of equal gaps the older one, so that the order never rests on how heaps compare
    gaps: list[tuple[float, int, int, int, int]] = []

    def leave(low: int, high: int, seen: int) -> None:
        """Note that nothing is known between a limit that was tried and the next point."""
        if high - seen > 1:
            heapq.heappush(gaps, (-scale.apart(low, high, seen), next(turn), low, high, seen))

    leave(min(known), max(known), min(known))
    while gaps and len(known) < max_points and not line.is_over():
        _, _, low, high, seen = heapq.heappop(gaps)
        # Where half of the stretch holds nothing, all of it may be empty, which the largest limit tells at once.
        limit = high - 1 if 2 * (seen - low) >= high - low - 1 else (seen + high) // 2
        found = line.under(limit, known[low])
        used = line.used(found) if found.choice is not None else low
        if used <= low or found.value >= known[low].value:
            leave(low, high, limit)
            continue
        known[used] = found
        scale.add(used, found)
        leave(low, used, seen)
        leave(used, high, limit)
    return list(_falling(known)), not gaps


def _falling(known: Mapping[int, Solution]) -> Iterator[Solution]:
    """Those that nothing as cheap is as good as: an answer that was not proved may be worse than a cheaper one."""
    best = math.inf
    for _, solution in sorted(known.items()):
        if solution.value < best:
            best = solution.value
            yield solution


class _Scale:
    """How far apart two points are: in use or in loss, whichever is more, as a share of the whole front.

    Parameters
    ----------
    least, most
        The uses of its ends.
    ends
        The answers there.
    """

    def __init__(self, least: int, most: int, ends: Mapping[int, Solution]) -> None:
        self._log_use = least > 0
        self._log_loss = all(each.value > 0 for each in ends.values())
        self._loss: dict[int, float] = {}
        for used, each in ends.items():
            self.add(used, each)
        self._use = (self._of_use(most) - self._of_use(least)) or 1.0
        self._fall = (self._loss[least] - self._loss[most]) or 1.0

    def add(self, used: int, solution: Solution) -> None:
        """Take in a point; its loss lies between those of the ends."""
        self._loss[used] = math.log(solution.value) if self._log_loss else solution.value

    def apart(self, low: int, high: int, seen: int) -> float:
        """The distance of two points, of which the uses up to `seen` are known to hold nothing."""
        use = (self._of_use(high) - self._of_use(seen)) / self._use
        return max(use, (self._loss[low] - self._loss[high]) / self._fall)

    def _of_use(self, used: int) -> float:
        return math.log(used) if self._log_use else float(used)


def _point(line: Line, solution: Solution) -> Point:
    assert solution.choice is not None
    formats = line.index.policy_formats(solution.choice)
    make = partial(as_policy, line.table, solution, line.index)
    return point_of(line.table, formats, line.used(solution), make, gap=_gap(solution))


def _gap(solution: Solution) -> float:
    return 0.0 if solution.status is Status.OPTIMAL else solution.value - solution.bound


def _excess(line: Line, solution: Solution) -> float:
    """The gap, relative to how far the best possible lies above the best formats without any budget."""
    gap = _gap(solution)
    floor = math.fsum(np.minimum.reduceat(line.problem.value, line.problem.start[:-1]).tolist())
    above = solution.value - gap - floor
    return gap / above if above > 0 else math.inf if gap > 0 else 0.0


def _uniforms(line: Line) -> Iterator[Point]:
    """The policies of one format, where nothing else is asked of a layer, that are within the other budgets."""
    for column, entry in enumerate(line.index.formats):
        labels = _everywhere(line, column)
        if labels is None or not line.is_within_others(labels):
            continue
        formats = line.index.policy_formats(labels)
        make = partial(_by_hand, line, formats)
        yield point_of(line.table, formats, line.taken(labels), make, gap=math.nan, name=f"uniform {entry.name}")


def _everywhere(line: Line, column: int) -> NDArray[np.int64] | None:
    """The labels of a format in every group that may have it or has no other choice; None where one lacks it."""
    problem = line.problem
    labels = np.full(problem.n_groups, -1, dtype=np.int64)
    single = np.flatnonzero(np.diff(problem.start) == 1)
    labels[single] = problem.label[problem.start[single]]
    labels[problem.group[problem.label == column]] = column
    return labels if (labels >= 0).all() and (labels == column).any() else None


def _by_hand(line: Line, formats: Sequence[Format]) -> Policy:
    return dataclasses.replace(Policy.on_table(line.table, formats), target=line.index.target or "")


def _chosen(table: SensitivityTable, request: Request, line: Line, seconds: float) -> Point:
    """What `allocate` chooses, with the policy that it gives to anybody who asks."""
    allocation = allocate(table, request, seconds=seconds)
    policy, solution = allocation.policy, allocation.solution
    return point_of(table, policy.formats, line.used(solution), lambda: policy, gap=_gap(solution), name="chosen")
