"""Greedy: walks the lower convex hulls by loss saved per cost, without reduction, as a baseline."""

from __future__ import annotations

import dataclasses
import math
import time
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import numpy as np

from ..answer import Answer
from ..bounds.hull import Hull, lower_hull, undominated
from ..problem.arguments import check_member
from ..problem.supports import refusal

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..problem.problem import Problem

Direction = Literal["both", "ascend", "descend"]

_WALKS = 12  # with several budgets
_SHARPNESS = 4.0  # how strongly the weight of a resource grows with the share of it that was used
_LEAST_SHARE = 0.01


@dataclasses.dataclass(frozen=True)
class Greedy:
    """Take the hull steps that save most per cost, from the cheapest selection up, or from the best one down.

    With several budgets the cost is a surrogate: each resource counts as a share of what its budget leaves above the
    least costs. The walk is repeated with more weight on the resources that it used most (after Toyoda 1975, *A
    simplified algorithm for obtaining approximate solutions to zero-one programming problems*), and the best one kept.

    Attributes
    ----------
    direction
        ``"ascend"`` starts at the cheapest choices and takes steps while they fit, going on with smaller ones after a
        misfit; ``"descend"`` starts at the best choices, takes back the steps that cost least per unit saved until
        the budgets are met, and then ascends with what is left over; ``"both"`` keeps the better one.
    """

    direction: Direction = "both"
    name: ClassVar[str] = "greedy"
    requires: ClassVar[str | None] = None
    reference: ClassVar[str] = (
        "Chen, Wang and Cheng (2021), Towards mixed-precision quantization of neural networks via constrained "
        "optimization, ICCV, 5350-5359 (after it: the step rule of the paper's algorithm 1 is reconstructed)"
    )

    def __post_init__(self) -> None:
        """Refuse an unknown direction."""
        check_member("direction", self.direction, get_args(Direction))

    def supports(self, problem: Problem) -> str | None:
        """Give the reason why not, or None: every problem without further rows is taken."""
        return refusal(problem, self.name)

    def __call__(self, problem: Problem, *, seconds: float, seed: int, warm: NDArray[np.int64] | None) -> Answer:
        """Solve; deterministic, so the seed is not used, nor the warm start."""
        deadline = time.perf_counter() + seconds
        room = np.maximum(np.array(problem.room, dtype=np.float64), 1.0)
        weight = 1.0 / room
        best, least, steps = None, math.inf, 0
        for _ in range(_WALKS if problem.n_resources > 1 else 1):
            hull = _hull(problem, weight)
            steps += len(hull.rate)
            found = self._walked(problem, hull)
            value = math.inf if found is None else float(problem.value[found].sum())
            if value < least:
                best, least = found, value
            used = problem.above[:, hull.point[hull.first] if found is None else found].sum(axis=1) / room
            weight = weight * np.maximum(used, _LEAST_SHARE) ** _SHARPNESS
            weight /= weight.max()  # only ratios count, and walk after walk over budget they would overflow
            if time.perf_counter() > deadline:
                break
        return Answer(best, stats={"steps": steps})

    def _walked(self, problem: Problem, hull: Hull) -> NDArray[np.int64] | None:
        """The better of the selections that the walks along some hulls lead to, or None."""
        order = np.argsort(-hull.rate, kind="stable")
        starts = []
        if self.direction != "descend":
            starts.append(hull.first.copy())
        if self.direction != "ascend":
            starts.append(_descend(problem, hull, order))
        walked = [_ascend(problem, hull, order, at) for at in starts]
        found = [hull.point[at] for at in walked if at is not None]
        return min(found, key=lambda selection: float(problem.value[selection].sum()), default=None)


def _hull(problem: Problem, weight: NDArray[np.float64]) -> Hull:
    """The hulls of value over cost; of several costs over their weighted sum."""
    cost: NDArray[Any] = problem.cost[0] if problem.n_resources == 1 else weight @ problem.above
    return lower_hull(problem.value, cost, problem.group, undominated(problem.value, cost, problem.start))


def _descend(problem: Problem, hull: Hull, order: NDArray[np.int64]) -> NDArray[np.int64]:
    """``(n_groups,)`` hull indices after taking steps back from the best selection until the budgets are met."""
    change = _step_cost(problem, hull)[:, order]
    whole = problem.cost[:, hull.point[hull.first]].sum(axis=1)
    excess = (
        whole[:, None]
        + np.concatenate([np.zeros((problem.n_resources, 1), dtype=np.int64), np.cumsum(change, axis=1)], axis=1)
        - problem.budget[:, None]
    )
    within = np.flatnonzero((excess <= 0).all(axis=0))
    taken = order[: within[-1]] if len(within) else order[:0]
    return hull.first + np.bincount(hull.group[taken], minlength=problem.n_groups)


def _ascend(problem: Problem, hull: Hull, order: NDArray[np.int64], at: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Hull indices after taking every step that fits, in falling order of rate; None where the start is over budget."""
    room = problem.budget - problem.cost[:, hull.point[at]].sum(axis=1)
    if (room < 0).any():
        return None
    at = at.copy()
    ahead = order[hull.tail[order] >= at[hull.group[order]]]
    change = _step_cost(problem, hull)[:, ahead]
    fitting = (np.cumsum(change, axis=1) <= room[:, None]).all(axis=0)
    prefix = len(ahead) if fitting.all() else int(np.argmin(fitting))
    at += np.bincount(hull.group[ahead[:prefix]], minlength=problem.n_groups)
    room = room - change[:, :prefix].sum(axis=1)
    # After the first misfit steps are tried one by one; a group whose step did not fit has no step that departs
    # from where it stands, so its later ones are passed over.
    for step in ahead[prefix:][(change[:, prefix:] <= room[:, None]).all(axis=0)]:
        group = hull.group[step]
        if hull.tail[step] != at[group]:
            continue
        cost = problem.cost[:, hull.point[hull.tail[step] + 1]] - problem.cost[:, hull.point[hull.tail[step]]]
        if (cost <= room).all():
            at[group] += 1
            room = room - cost
    return at


def _step_cost(problem: Problem, hull: Hull) -> NDArray[np.int64]:
    """``(n_resources, n_steps)`` what each step adds to every cost."""
    change: NDArray[np.int64] = problem.cost[:, hull.point[hull.tail + 1]] - problem.cost[:, hull.point[hull.tail]]
    return change
