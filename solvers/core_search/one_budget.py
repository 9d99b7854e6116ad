"""The search of a core with one budget: dynamic programming and state lists in turns."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from ..answer import Answer
from ..core.incumbent import PAIRS_UP_TO
from ..kernels.dispatch import compiled, plain
from .dynamic import CoreResult, search_core
from .lists import search_lists

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..core.reduction import Reduction
    from ..problem.problem import Problem
    from ..watching import NormalWatch
    from .dynamic import Heard

# The states of the first search by dynamic programming (and some more for each group), and of the lists after it.
FIRST_STATES, STATES_OF_A_GROUP = 3000, 10
_STATES_OF_LISTS = 50_000


def search_one_budget(
    reduction: Reduction, max_states: int, deadline: float, *, watch: NormalWatch | None = None
) -> CoreResult:
    """Search a core with one budget by dynamic programming and by state lists in turns, as either may get stuck.

    Parameters
    ----------
    reduction
        What reduction leaves of a problem with one budget.
    max_states
        How many states may be kept over all turns.
    deadline
        `time.perf_counter` reading at which to stop.
    watch
        Is told of better selections, or None.

    Returns
    -------
    result
        Incomplete where a limit was hit, or the user interrupted: then with the best selection so far.
    """
    core, price, gap, least_gain = reduction.core, reduction.price, reduction.gap, reduction.least_gain
    heard = hearing(reduction, watch)
    position: NDArray[np.int64] | None = None
    states, complete, interrupted = 0, reduction.closed, False
    first = FIRST_STATES + STATES_OF_A_GROUP * len(core.group)
    for turn, limit in enumerate((first, _STATES_OF_LISTS, max_states)):
        if complete or interrupted or states >= max_states or (watch is not None and watch.over):
            break
        limits = min(limit, max_states - states), deadline
        if turn == 1:
            result = search_lists(core, price, gap, least_gain, *limits, heard=heard)
        else:
            result = search_core(core, float(price[0]), gap, least_gain, *limits, heard=heard)
        if result.position is not None:
            position, gap = result.position, result.gap
        states, complete, interrupted = states + result.states, result.complete, result.interrupted
    return CoreResult(position, gap, complete, states, interrupted)


def solved_at_once(problem: Problem, warm: NDArray[np.int64] | None, max_states: int, deadline: float) -> Answer | None:
    """What reduction and the first turn find, in one call of a kernel; None where there is none, or it takes more.

    Parameters
    ----------
    problem
        A problem with one budget that can be met.
    warm
        ``(n_groups,)`` int64 positions of a selection to start from, or None.
    max_states
        How many states may be kept.
    deadline
        `time.perf_counter` reading at which to stop.

    Returns
    -------
    answer
        The same as by `reduce` and `search_one_budget`: complete, or interrupted by the user.
    """
    kernels = compiled()
    if kernels is None:
        return None
    choice, figures, counts = np.empty(problem.n_groups, dtype=np.int64), np.empty(3), np.empty(3, dtype=np.int64)
    interrupted, complete = False, True
    try:
        complete = kernels.solve_one_budget(
            problem.value,
            plain(problem.cost),
            problem.start,
            choice,
            figures,
            counts,
            None if warm is None else plain(warm),
            int(problem.budget[0]),
            PAIRS_UP_TO,
            FIRST_STATES,
            STATES_OF_A_GROUP,
            max_states,
            deadline - time.perf_counter(),
        )
    except KeyboardInterrupt:
        interrupted = True
    if not complete:
        return None
    core_groups, core_choices, states = counts.tolist()
    stats: dict[str, Any] = {"core_groups": core_groups, "core_choices": core_choices, "states": states}
    if interrupted:
        stats["interrupted"] = True
    return Answer(choice, not interrupted, figures[:1], float(figures[1]), stats)


def solved_draws(
    problem: Problem, values: NDArray[np.float64], warm: NDArray[np.int64] | None, max_states: int, seconds: float
) -> NDArray[np.int64] | None:
    """What `solved_at_once` finds under each of many values; None where there is no kernel.

    Parameters
    ----------
    problem
        A problem with one budget that can be met.
    values
        ``(n, n_choices)`` float64.
    warm
        ``(n_groups,)`` int64 positions of a selection to start from, or None.
    max_states
        How many states may be kept for each.
    seconds
        Wall time for each.

    Returns
    -------
    found
        ``(n, n_groups)`` int64 positions; rows of -1 for what takes more than the first turn.
    """
    kernels = compiled()
    if kernels is None:
        return None
    choice = np.empty((len(values), problem.n_groups), dtype=np.int64)
    done = np.empty(len(values), dtype=np.int64)
    kernels.solve_draws(
        values,
        plain(problem.cost),
        problem.start,
        choice,
        done,
        None if warm is None else plain(warm),
        int(problem.budget[0]),
        PAIRS_UP_TO,
        FIRST_STATES,
        STATES_OF_A_GROUP,
        max_states,
        float(seconds),
    )
    choice[done == 0] = -1
    return choice


def hearing(reduction: Reduction, watch: NormalWatch | None) -> Heard | None:
    """Tells a watch of selections of a core; None without a watch."""
    if watch is None:
        return None
    return lambda position: watch.found(reduction.expand(position), reduction.price)
