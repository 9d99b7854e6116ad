"""Finds the k best selections, exactly.

With one budget: dynamic programming forwards, then a search backwards that knows what every partial selection can
become. The lists of nondominated states say, for each place in the order of groups and each amount of budget left, the
least value that the groups before that place can add. Walking back from the last group, the k partial selections with
the best completions are kept at every step; no other one can lead to one of the k best (the idea of Hoffman and Pavley
1959, *A method for the solution of the Nth best path problem*, on the lists of Nemhauser and Ullmann). Lists are pruned
in gap space as in `core.reduction`: only what can come within a limit of the bound is kept, and the limit grows until
there are k.
"""

from __future__ import annotations

import dataclasses
import math
import time
from typing import TYPE_CHECKING

import numpy as np

from ..answer import Status
from ..bounds.bound import best_price
from ..bounds.gap import dual_gap, rounding_of, whole_unit
from ..bounds.lagrangian import cheapest_at
from ..bounds.normal_form import normalise
from ..certify import total_value
from ..errors import InvalidProblem
from ..front_door import solve
from ..problem.arguments import check_seconds, check_whole
from ..solution import GROUND_DUAL, GROUND_NONE, Certificate, Solution, is_search_ground, search_ground
from .partition import rank_by_partition
from .regrets import Regrets, first_limit, highest_regret, noise_of, regrets_of
from .states import States, nondominated

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..bounds.gap import Gap
    from ..problem.problem import Problem

# After a pass that kept so many states at most, the limit grows by so much: the lists grow many times as fast.
_GROWTH = ((200, 4.0), (2000, 2.0))
_LEAST_GROWTH = 1.3
_LATE = 1000  # states kept for each group once the time is up
_LAST_RESORT = 0.1  # seconds for a single selection, where the lists came to nothing
_WRITTEN_WITHIN = 0.3  # seconds past the limit, or after an interrupt, for the certificates of what was found


@dataclasses.dataclass(frozen=True, eq=False)
class _Stage:
    """One group's choices within the limit, dominated ones too, and the states before it entered."""

    group: int
    choice: NDArray[np.int64]
    before: States


@dataclasses.dataclass(frozen=True, eq=False)
class _Pass:
    """The stages under one limit; incomplete where a list had to be cut."""

    stages: list[_Stage]
    complete: bool
    states: int


def k_best(problem: Problem, k: int, *, seconds: float = 60.0, max_states: int = 10**7) -> list[Solution]:
    """Find the k feasible selections of least value, all different.

    Parameters
    ----------
    problem
        The problem. With one budget, lists of states find all k at once; with several, the problem is split after
        each selection and solved again (see `partition`), which takes many solves.
    k
        How many selections, at least 1.
    seconds
        Wall time.
    max_states
        How many states the lists may hold together, 16 bytes each.

    Returns
    -------
    solutions
        By rising value, then cost, then labels; the same call gives the same list. All feasible selections where there
        are fewer than k, so an empty list proves that nothing is feasible. OPTIMAL means that no selection but those
        before it is better; `Solution.bound` is in the same sense, while `Certificate.bound` is below them all. Where a
        limit was hit, the last of them may be FEASIBLE only, and some may be missing. Selections whose values differ by
        rounding count as equal, and which of the equal ones make the list is not specified.

    Raises
    ------
    InvalidProblem
        When k or another number makes no sense, or the problem has further rows or pairwise terms.
    NoSolution
        When a limit was hit before any selection was found, although there may be some.
    KeyboardInterrupt
        When the user interrupts before any selection is known; later the list holds those that were found.
    """
    started = time.perf_counter()
    check_whole("k", k, 1)
    check_whole("max_states", max_states, 1)
    check_seconds(seconds)
    if problem.rows is not None:
        raise InvalidProblem("k_best takes no further rows: leave them out")
    if problem.pairs is not None:
        raise InvalidProblem("k_best takes no pairwise terms: leave them out")
    if any(least > limit for least, limit in zip(problem.least_cost, problem.budget.tolist(), strict=True)):
        return []
    normal = normalise(problem)
    normal_price = best_price(normal.problem, deadline=started + seconds)
    price, noise = normal.price(normal_price), 0.0
    if problem.n_resources > 1:
        found, proved, steps, interrupted = rank_by_partition(normal.problem, k, normal_price, started + seconds)
    else:
        relative = regrets_of(normal.problem, normal_price)
        found, proved, steps, interrupted = _search(normal.problem, relative, k, max_states, started + seconds)
        noise = math.ldexp(noise_of(normal.problem, relative), normal.exponent)
    if not len(found):
        found, proved = _any(problem, started + seconds)
    certain = {choice.tobytes() for choice in proved}
    cheapest = cheapest_at(problem, problem.value, problem.fits, price)
    unit = whole_unit(problem)
    until = time.perf_counter() + _WRITTEN_WITHIN
    until = until if interrupted else max(until, started + seconds)
    solutions: list[Solution] = []
    try:
        for choice in _ordered(problem, found, until)[:k]:
            if solutions and time.perf_counter() > until:
                break
            status = Status.OPTIMAL if choice.tobytes() in certain else Status.FEASIBLE
            gap = dual_gap(problem, choice, price, cheapest=cheapest, unit=unit)
            certificate = _certificate(problem, choice, status, price, gap, noise)
            stats = {"rank": len(solutions) + 1, "states" if problem.n_resources == 1 else "solves": steps}
            solutions.append(_solution(problem, choice, certificate, k, time.perf_counter() - started, stats))
    except KeyboardInterrupt:
        if not solutions:
            raise
    return solutions


def _any(problem: Problem, deadline: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The best selection from a single solve, and whether it is proved; none where nothing is feasible."""
    answer = solve(problem, seconds=max(deadline - time.perf_counter(), _LAST_RESORT))
    if answer.status is Status.INFEASIBLE:
        return np.zeros((0, problem.n_groups), dtype=np.int64), np.zeros((0, problem.n_groups), dtype=np.int64)
    choice = answer.require().choice
    assert choice is not None
    found = problem.position(choice)[None]
    return found, found if answer.status is Status.OPTIMAL else found[:0]


def _search(
    problem: Problem, relative: Regrets, k: int, max_states: int, deadline: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], int, bool]:
    """Good selections, those of them that are proved the best, the states it took, and whether it was interrupted."""
    noise, highest = noise_of(problem, relative), highest_regret(problem, relative)
    limit = first_limit(problem, relative)
    proved = np.zeros((0, problem.n_groups), dtype=np.int64)
    states = 0
    while True:
        if limit >= highest:
            limit = math.inf
        try:
            done = _forward(problem, relative, limit + noise, max_states, deadline)
            found = _backward(relative, done.stages, k, limit + noise)
        except KeyboardInterrupt:
            if not len(proved):
                raise
            return proved, proved, states, True
        states += done.states
        if not done.complete:
            return np.unique(np.concatenate([proved, found]), axis=0), proved, states, False
        proved = found
        if len(found) >= k or limit == math.inf or time.perf_counter() > deadline:
            return found, found, states, False
        growth = next((growth for few, growth in _GROWTH if done.states < few), _LEAST_GROWTH)
        limit = limit * growth if limit > 0 else math.inf


def _forward(problem: Problem, relative: Regrets, limit: float, max_states: int, deadline: float) -> _Pass:
    """Lists of nondominated states, less what cannot come within the limit of the bound."""
    alive = relative.reduced <= limit
    order, up, down, shed = _tails(problem, relative, alive)
    stages: list[_Stage] = []
    states, kept, complete = States.empty_selection(), 0, True
    for rank, group in enumerate(order.tolist(), start=1):
        own = np.arange(problem.start[group], problem.start[group + 1])
        own = own[alive[own]]
        stages.append(_Stage(group, own, states))
        own = own[relative.useful[own]]
        cost = (states.cost + relative.cost[own, None]).ravel()
        value = (states.value + relative.value[own, None]).ravel()
        room = relative.slack - cost
        owed = np.maximum(value + relative.price * cost, 0.0)
        owed += np.where(room >= 0, room * up[rank], -room * down[rank])
        keep = np.flatnonzero((owed <= limit) & (-room <= shed[rank]))
        most = _LATE if time.perf_counter() > deadline else max(max_states // len(order), 1)
        if len(keep) > most:
            keep, complete = keep[np.argpartition(owed[keep], most - 1)[:most]], False
        keep = keep[np.argsort(cost[keep], kind="stable")]
        states = nondominated(cost[keep], value[keep])
        kept += len(states)
        if not len(states):
            break
    return _Pass(stages if len(states) else [], complete, kept)


def _tails(
    problem: Problem, relative: Regrets, alive: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """The groups that have a choice, likeliest to leave their reference first, and what each tail of them can do.

    For each place in the order, and for the end: the least reduced cost per unit of slack used (at most the price, the
    cost of leaving it unused), the least per unit of cost shed, and the most cost that can be shed.
    """
    begin = problem.start[:-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        gradient = relative.reduced / np.abs(relative.cost)
    rise = np.minimum.reduceat(np.where(alive & (relative.cost > 0), gradient, np.inf), begin)
    fall = np.minimum.reduceat(np.where(alive & (relative.cost < 0), gradient, np.inf), begin)
    most = np.maximum.reduceat(np.where(alive, -relative.cost, 0), begin)
    order = np.flatnonzero(np.add.reduceat(alive, begin) > 1)
    order = order[np.argsort(np.minimum(rise, fall)[order], kind="stable")]
    n = len(order)
    up, down, shed = np.full(n + 1, relative.price), np.zeros(n + 1), np.zeros(n + 1, dtype=np.int64)
    up[:n] = np.minimum(np.minimum.accumulate(rise[order][::-1])[::-1], relative.price)
    down[:n] = np.minimum.accumulate(fall[order][::-1])[::-1]
    shed[:n] = np.cumsum(most[order][::-1])[::-1]
    down[shed == 0] = 0.0
    return order, up, down, shed


def _backward(relative: Regrets, stages: list[_Stage], k: int, limit: float) -> NDArray[np.int64]:
    """``(n, n_groups)`` positions of the k best selections within the limit, or of all where there are fewer."""
    offset = relative.price * relative.slack
    cost, value = np.zeros(1, dtype=np.int64), np.zeros(1)
    trail: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
    if not stages and not (relative.slack >= 0 and offset <= limit):
        return np.zeros((0, len(relative.reference)), dtype=np.int64)
    for stage in reversed(stages):
        next_cost = (cost + relative.cost[stage.choice, None]).ravel()
        next_value = (value + relative.value[stage.choice, None]).ravel()
        at = np.searchsorted(stage.before.cost, relative.slack - next_cost, side="right") - 1
        best = next_value + stage.before.value[at] + offset
        keep = np.flatnonzero((at >= 0) & (best <= limit))
        if len(keep) > k:
            keep = keep[np.argsort(best[keep], kind="stable")[:k]]
        taken, parent = np.divmod(keep, len(cost))
        trail.append((parent, stage.choice[taken]))
        cost, value = next_cost[keep], next_value[keep]
    found = np.repeat(relative.reference[None], len(cost), axis=0)
    row = np.arange(len(cost))
    for stage, (parent, taken) in zip(stages, reversed(trail), strict=True):
        found[:, stage.group] = taken[row]
        row = parent[row]
    return found


def _ordered(problem: Problem, found: NDArray[np.int64], until: float) -> list[NDArray[np.int64]]:
    """Selections by `_rank`; where time is up on the way, only those that are best by their rounded sums."""
    ranked: list[tuple[tuple[float, list[int], list[int]], int]] = []
    for place in np.argsort(problem.value[found].sum(axis=1), kind="stable").tolist():
        if ranked and time.perf_counter() > until:
            break
        ranked.append((_rank(problem, found[place]), place))
    return [found[place] for _, place in sorted(ranked)]


def _rank(problem: Problem, choice: NDArray[np.int64]) -> tuple[float, list[int], list[int]]:
    return total_value(problem, choice), problem.cost[:, choice].sum(axis=1).tolist(), problem.label[choice].tolist()


def _certificate(
    problem: Problem,
    choice: NDArray[np.int64],
    status: Status,
    price: NDArray[np.float64],
    gap: Gap,
    noise: float,
) -> Certificate:
    value = total_value(problem, choice)
    tolerance = gap.tolerance + rounding_of(value)
    bound = min(gap.bound, value)
    if status is Status.FEASIBLE:
        return Certificate(status, GROUND_NONE, price, bound, tolerance, value)
    if gap.closed and value - bound <= tolerance:
        return Certificate(status, GROUND_DUAL, price, bound, tolerance, value)
    return Certificate(status, search_ground("k_best"), price, bound, max(tolerance, noise), value)


def _solution(
    problem: Problem, choice: NDArray[np.int64], certificate: Certificate, k: int, seconds: float, stats: dict[str, int]
) -> Solution:
    value = total_value(problem, choice)
    return Solution(
        choice=problem.label[choice],
        value=value,
        cost=tuple(problem.cost[:, choice].sum(axis=1).tolist()),
        budget=tuple(problem.budget.tolist()),
        status=certificate.status,
        bound=value if is_search_ground(certificate.ground) else certificate.bound,
        certificate=certificate,
        solver=f"k_best(k={k})",
        seed=0,
        seconds=seconds,
        stats=stats,
    )
