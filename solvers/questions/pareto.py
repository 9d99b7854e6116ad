"""Finds the whole Pareto front of cost and value.

Groups are merged one by one into a list of nondominated states (Nemhauser and Ullmann 1969, *Discrete dynamic
programming and capital allocation*); see `states` for what makes that fast. The lists stay, so that a selection is
found by walking back, and nothing is stored for each state but its cost and value.
"""

from __future__ import annotations

import dataclasses
import math
import time
from typing import TYPE_CHECKING

import numpy as np

from ..bounds.hull import undominated
from ..display.faces import Face
from ..display.figures import counted, number
from ..display.staircase import draw_staircase
from ..errors import InvalidProblem
from ..problem.arguments import check_seconds, check_whole, is_finite, is_whole
from .states import States, entry_order, merge
from .thinning import thin_to_count, thin_to_ratio

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..problem.problem import Problem

_MOST_STATES = 4 * 10**7  # over all groups, 16 bytes each
# Losses multiply from group to group: lists are cut to the points asked for only at the end.
_LONGER_ON_THE_WAY = 8
_SHORT_ANYWAY = 20_000
_PACE_FROM = 10**5  # states made by a merge, above which its pace foretells the next one's
_END_WITHIN = 0.7  # seconds after an interrupt
_LATE = 200  # states kept of each list once time is up or the user interrupted


@dataclasses.dataclass(frozen=True, eq=False)
class _Stage:
    """One group's undominated choices, by rising cost, and the states before it entered."""

    group: int
    position: NDArray[np.int64]
    cost: NDArray[np.int64]
    regret: NDArray[np.float64]
    before: States


@dataclasses.dataclass(frozen=True, eq=False)
class Front:
    """Every nondominated pair of cost and value of a problem, up to its budget.

    Attributes
    ----------
    cost
        ``(n,)`` int64, strictly rising.
    value
        ``(n,)`` float64, strictly falling.
    error
        What thinning may have lost, relative to the regret, which is the value above `floor`: every selection within
        the budget, of cost ``c`` and value ``v``, has a point with ``cost <= c`` and
        ``value - floor <= (1 + error) * (v - floor)``, to rounding. 0.0 where the front is exact.
    floor
        The sum over groups of the least value: no selection is below it, whatever the budget.
    problem
        The problem.
    """

    cost: NDArray[np.int64]
    value: NDArray[np.float64]
    error: float
    floor: float
    problem: Problem = dataclasses.field(repr=False)
    _points: States = dataclasses.field(repr=False)
    _stages: tuple[_Stage, ...] = dataclasses.field(repr=False)
    _cheapest: NDArray[np.int64] = dataclasses.field(repr=False)

    def __len__(self) -> int:
        return len(self.cost)

    def __repr__(self) -> str:
        """How many points there are, and between what they lie."""
        return self._face().text()

    def _repr_html_(self) -> str:
        """The same in a notebook, drawn."""
        if not len(self):
            return self._face().html()
        points = list(zip(self.cost.tolist(), self.value.tolist(), strict=True))
        about = f"A falling line of {counted(len(self), 'point')}."
        drawn = draw_staircase(points, [], ("cost", "value"), ("The best value at every cost", about), 640, "front")
        return self._face().html(drawn)

    def _face(self) -> Face:
        known = "exact" if self.error == 0 else f"within {number(self.error, 3)} of the regret"
        if not len(self):
            return Face("Front: no point, the budget cannot be met", ())
        facts = (
            ("cost", f"{self.cost[0]:,} to {self.cost[-1]:,}"),
            ("value", f"{number(self.value[0])} to {number(self.value[-1])}"),
            ("floor", f"no selection is below {number(self.floor)}"),
        )
        return Face(f"Front: {counted(len(self), 'point')}, {known}", facts)

    def choice(self, point: int) -> NDArray[np.int64]:
        """The selection of a point, found by walking back through the lists of states.

        Parameters
        ----------
        point
            Index into `cost` and `value`; negative ones count from the end.

        Returns
        -------
        choice
            ``(n_groups,)`` int64 labels.

        Raises
        ------
        IndexError
            When there is no such point.
        """
        if not -len(self) <= point < len(self):
            raise IndexError(f"point {point} of a front of {len(self)} points")
        selection = self._cheapest.copy()
        cost, regret = self._points.cost[point], self._points.value[point]
        for stage in reversed(self._stages):
            rest = cost - stage.cost
            at = np.minimum(np.searchsorted(stage.before.cost, rest), len(stage.before) - 1)
            # The same addition made this state, so equality is the right comparison.
            made = (stage.before.cost[at] == rest) & (stage.before.value[at] + stage.regret == regret)
            taken = int(np.argmax(made))
            selection[stage.group] = stage.position[taken]
            cost, regret = stage.before.cost[at[taken]], stage.before.value[at[taken]]
        return self.problem.label[selection]


def front(
    problem: Problem,
    *,
    resource: int = 0,
    max_points: int | None = None,
    epsilon: float | None = None,
    seconds: float = 60.0,
) -> Front:
    """Every nondominated pair of cost and value, each with its selection on demand.

    Parameters
    ----------
    problem
        The problem. Its budget is where the front ends; where that cannot be met, the front is empty.
    resource
        Which cost. The other budgets, if any, must be so large that no selection exceeds them: a front over one cost
        says nothing of selections that another budget forbids.
    max_points
        How many points the front may have, at least 2; a longer one is thinned. None keeps all of them.
    epsilon
        What thinning may cost, relative to the regret: see `Front.error`. Where `max_points` asks for more thinning,
        `max_points` wins, and `Front.error` says what it took.
    seconds
        Wall time. When it is up, or the user interrupts, the groups that are left are merged into short lists, and
        `Front.error` says what that took.

    Returns
    -------
    front
        The front: exact, to the rounding of sums, unless `max_points` or `epsilon` is given, or time ran out.

    Raises
    ------
    KeyboardInterrupt
        When the user interrupts, and so many groups are left that they take longer than a second.
    InvalidProblem
        When an argument makes no sense, another budget may bind, there are further rows, or the front is too long to
        keep.
    """
    _check(problem, resource, max_points, epsilon)
    check_seconds(seconds)
    deadline = time.perf_counter() + seconds
    cost, room = problem.cost[resource], int(problem.budget[resource]) - problem.least_cost[resource]
    position = undominated(problem.value, cost, problem.start)
    group = problem.group[position]
    bounds = np.flatnonzero(np.diff(group, prepend=-1, append=-1))
    cheapest, best = position[bounds[:-1]], position[bounds[1:] - 1]
    above, regret = cost[position] - cost[cheapest][group], problem.value[position] - problem.value[best][group]
    floor = math.fsum(problem.value[best].tolist())
    stages: list[_Stage] = []
    states, error, kept, pace, give_up = States.empty_selection(), 0.0, 0, 0.0, math.inf
    order, unit = entry_order(above, bounds)
    longest = _longest(max_points or 2, len(order))
    for rank, entering in enumerate(order.tolist() if room >= 0 else []):
        own = slice(bounds[entering], bounds[entering + 1])
        began, made = time.perf_counter(), len(states) * (own.stop - own.start)
        merged = None
        if began + pace * made <= deadline:
            try:
                merged = merge(states, above[own], regret[own], room=room, unit=int(unit[rank]))
            except KeyboardInterrupt:
                deadline, give_up = -math.inf, time.perf_counter() + _END_WITHIN
        if merged is None:
            if began > give_up:
                raise KeyboardInterrupt
            states, lost = thin_to_count(states, _LATE)
            error = (1 + error) * (1 + lost) - 1
        stages.append(_Stage(entering, position[own], above[own], regret[own], states))
        if merged is None:
            merged = merge(states, above[own], regret[own], room=room, unit=int(unit[rank]))
        states, pace = merged, (time.perf_counter() - began) / made if made > _PACE_FROM else 0.0
        if epsilon is not None:
            states, lost = thin_to_ratio(states, ((1 + epsilon) / (1 + error)) ** (1 / (len(order) - rank)) - 1)
            error = (1 + error) * (1 + lost) - 1
        if max_points is not None:
            states, lost = thin_to_count(states, longest if rank < len(order) - 1 else max_points)
            error = (1 + error) * (1 + lost) - 1
        kept += len(states)
        if kept > _MOST_STATES:
            raise InvalidProblem(
                f"the front has {len(states)} points after {rank + 1} of {len(order)} groups, too many to keep: "
                f"give {'max_points, or epsilon' if max_points is None else 'a smaller max_points'}"
            )
    value = floor + states.value
    falls = np.append(True, value[1:] < np.minimum.accumulate(value)[:-1]) & (room >= 0)
    points = States(states.cost[falls], states.value[falls])
    total = problem.least_cost[resource] + points.cost
    return Front(total, value[falls], error, floor, problem, points, tuple(stages), cheapest)


def _longest(max_points: int, n_groups: int) -> int:
    """How long a list may be before the last group has entered."""
    wanted = max(_LONGER_ON_THE_WAY * max_points, _SHORT_ANYWAY)
    return max(max_points, min(wanted, _MOST_STATES // max(n_groups, 1)))


def _check(problem: Problem, resource: int, max_points: int | None, epsilon: float | None) -> None:
    check_resource(problem, resource)
    if problem.rows is not None:
        raise InvalidProblem("a front takes no further rows: leave them out, or solve one budget after another")
    if problem.pairs is not None:
        raise InvalidProblem("a front takes no pairwise terms: leave them out, or solve one budget after another")
    if max_points is not None:
        check_whole("max_points", max_points, 2)
    if epsilon is not None and not (is_finite(epsilon) and epsilon > 0):
        raise InvalidProblem(f"epsilon is {epsilon!r}: it must be a number above 0 (None gives the exact front)")
    most = np.maximum.reduceat(problem.cost, problem.start[:-1], axis=1).sum(axis=1)
    for other in range(problem.n_resources):
        if other != resource and most[other] > problem.budget[other]:
            raise InvalidProblem(
                f"budget[{other}] = {problem.budget[other]} may bind beside resource {resource}: a front is over one "
                f"cost alone; raise that budget to {most[other]} or leave its resource out"
            )


def check_resource(problem: Problem, resource: int) -> None:
    """Refuse a resource that the problem does not have.

    Parameters
    ----------
    problem
        The problem.
    resource
        Index of one of its resources.

    Raises
    ------
    InvalidProblem
        When there is no such resource.
    """
    if not is_whole(resource) or not 0 <= resource < problem.n_resources:
        raise InvalidProblem(f"resource is {resource!r}: the problem has the resources 0 to {problem.n_resources - 1}")
