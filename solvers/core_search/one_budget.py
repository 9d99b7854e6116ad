"""The search of a core with one budget: dynamic programming and state lists in turns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .dynamic import CoreResult, search_core
from .lists import search_lists

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..core.reduction import Reduction
    from ..watching import NormalWatch
    from .dynamic import Heard

# The states of the first search by dynamic programming (and some more for each group), and of the lists after it.
_FIRST_STATES, _STATES_OF_LISTS = 3000, 50_000
_STATES_OF_A_GROUP = 10


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
    first = _FIRST_STATES + _STATES_OF_A_GROUP * len(core.group)
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


def hearing(reduction: Reduction, watch: NormalWatch | None) -> Heard | None:
    """Tells a watch of selections of a core; None without a watch."""
    if watch is None:
        return None
    return lambda position: watch.found(reduction.expand(position), reduction.price)
