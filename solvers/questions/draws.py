"""One problem under many values, such as draws of a noisy table: what their costs say is found once for all."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from ..bounds.normal_form import normal_values
from ..core_search.one_budget import solved_draws
from ..errors import InvalidProblem
from ..front_door import solve
from ..methods.exact import Exact
from ..problem.arguments import check_seconds, check_seed, check_whole
from ..problem.arrays import floats

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    from ..answer import Solver
    from ..problem.problem import Problem

_AT_ONCE = 64  # draws that are handed to the kernel together


def best_choices(
    problem: Problem,
    values: ArrayLike,
    solver: Solver | str = "auto",
    *,
    threads: int = 1,
    seconds: float = 60.0,
    seed: int = 0,
    warm: ArrayLike | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> NDArray[np.int64]:
    """The best selection under each of many values; each is the one that `solve` finds.

    With one budget and compiled kernels, `Exact` takes a tenth of a millisecond for each of some fifty groups: costs
    are checked and measured once, and nothing is certified. Ask `solve` for the certificate of one of them.

    Parameters
    ----------
    problem
        The problem; its own values are not used.
    values
        ``(n, n_choices)`` finite numbers.
    solver, seed
        As for `solve`.
    threads
        How many are solved at once, at least 1.
    seconds
        Wall time for each.
    warm
        ``(n_groups,)`` labels of one selection that every solve starts from.
    progress
        Called once for each with the number that are done and the number of all.

    Returns
    -------
    choices
        ``(n, n_groups)`` int64 labels.

    Raises
    ------
    InvalidProblem
        When an argument makes no sense.
    NoSolution
        When no selection is within the budgets.
    """
    check_whole("threads", threads, 1)
    check_seconds(seconds)
    check_seed(seed)
    rows = floats("values", values)
    if rows.ndim != 2 or rows.shape[1] != problem.n_choices:
        raise InvalidProblem(
            f"values has the shape {rows.shape}: give one row for each solve, with {problem.n_choices} values each"
        )
    start = None if warm is None else problem.position(warm)
    found = np.empty((len(rows), problem.n_groups), dtype=np.int64)

    def one(first: int) -> int:
        part = rows[first : first + _AT_ONCE]
        known = _at_once(problem, part, solver, start, seconds)
        for place, value in enumerate(part):
            if known is not None and known[place, 0] >= 0:
                found[first + place] = problem.label[known[place]]
                continue
            twin = problem.equivalent(value=value.copy(), cost=problem.cost, budget=problem.budget)
            choice = solve(twin, solver, seconds=seconds, seed=seed, warm=warm).require().choice
            assert choice is not None
            found[first + place] = choice
        return len(part)

    done = 0
    for count in _in_turn(one, range(0, len(rows), _AT_ONCE), threads):
        if progress is None:
            continue
        for _ in range(count):
            done += 1
            progress(done, len(rows))
    return found


def _in_turn(one: Callable[[int], int], parts: range, threads: int) -> list[int] | map[int]:
    if threads == 1:
        return map(one, parts)
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(one, parts))


def _at_once(
    problem: Problem,
    values: NDArray[np.float64],
    solver: Solver | str,
    start: NDArray[np.int64] | None,
    seconds: float,
) -> NDArray[np.int64] | None:
    """``(n, n_groups)`` positions, -1 where `solve` has to be asked; None where it has to be asked for all.

    What a kernel gives is checked as the front door checks it: within the budget in exact integers, and no worse than
    the warm start.
    """
    exact = Exact() if isinstance(solver, str) and solver in ("auto", Exact.name) else solver
    if not isinstance(exact, Exact) or exact.supports(problem) is not None or problem.n_resources != 1:
        return None
    if problem.least_cost[0] > problem.budget[0]:
        return None
    normal = np.array([normal_values(problem, row)[0] for row in values])
    found = solved_draws(problem.above_least(normal[0]), normal, start, exact.max_states, seconds)
    if found is None:
        return None
    good = found[:, 0] >= 0
    found[~good] = problem.start[:-1]
    good &= problem.cost[0][found].sum(axis=1) <= problem.budget[0]
    if start is not None and problem.cost[0][start].sum() <= problem.budget[0]:
        worth = np.take_along_axis(values, found, axis=1) - values[:, start]
        good &= worth.sum(axis=1) <= 0
    found[~good] = -1
    return found
