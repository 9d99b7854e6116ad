"""Shortens lists of states at a known loss. Values here are regrets: they count from the least possible value.

Of all states whose regrets lie in one interval of a geometric scale, the cheapest stays (Ibarra and Kim 1975, *Fast
approximation algorithms for the knapsack and sum of subset problems*, on a geometric scale). What is lost is measured,
not estimated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .states import States

if TYPE_CHECKING:
    from numpy.typing import NDArray

_HALVINGS = 20  # how much finer than an even scale the search for an interval looks
_STEPS = 8


def thin_to_ratio(states: States, ratio: float) -> tuple[States, float]:
    """Keep the cheapest state of each interval of regrets ``[r, (1 + ratio) r)``.

    Parameters
    ----------
    states
        Nondominated states, at least one.
    ratio
        Positive.

    Returns
    -------
    states
        What stays. A regret of 0 is an interval of its own.
    lost
        For every state there is one that stays, costs no more, and has a regret at most ``1 + lost`` times as large.
    """
    return _kept(states, _opens_interval(_depth(states), np.log1p(ratio)))


def thin_to_count(states: States, max_states: int) -> tuple[States, float]:
    """Keep at most so many states, on the finest geometric scale that does it.

    Parameters
    ----------
    states
        Nondominated states, at least one.
    max_states
        At least 2.

    Returns
    -------
    states
        What stays.
    lost
        As for `thin_to_ratio`.
    """
    if len(states) <= max_states:
        return states, 0.0
    depth = _depth(states)
    deepest = max(float(depth[np.isfinite(depth)].max()), float(np.finfo(np.float64).tiny))
    # One interval is spent on a regret of 0, and the deepest state may open one of its own.
    coarse = np.log2(deepest / (max_states - 2) * 1.001) if max_states > 2 else np.inf
    opens = _opens_interval(depth, np.exp2(coarse))
    fine = coarse - _HALVINGS
    for _ in range(_STEPS if np.isfinite(coarse) else 0):
        middle = (coarse + fine) / 2
        trial = _opens_interval(depth, np.exp2(middle))
        if np.count_nonzero(trial) <= max_states:
            coarse, opens = middle, trial
        else:
            fine = middle
    return _kept(states, opens)


def _depth(states: States) -> NDArray[np.float64]:
    """``(n,)`` how far each regret lies below the first, in natural logarithms; infinite for a regret of 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        depth: NDArray[np.float64] = np.log(states.value[0]) - np.log(states.value)
    depth[0] = 0.0  # where the only regret is 0
    return depth


def _opens_interval(depth: NDArray[np.float64], width: np.float64) -> NDArray[np.bool_]:
    with np.errstate(invalid="ignore"):
        interval = np.floor(depth / width)
    opens = np.ones(len(depth), dtype=bool)
    np.not_equal(interval[1:], interval[:-1], out=opens[1:])
    return opens


def _kept(states: States, opens: NDArray[np.bool_]) -> tuple[States, float]:
    if opens.all():
        return states, 0.0
    dropped = np.flatnonzero(~opens)
    stands_in = np.maximum.accumulate(np.where(opens, np.arange(len(states)), 0))[dropped]
    lost = float((states.value[stands_in] / states.value[dropped]).max()) - 1
    return States(states.cost[opens], states.value[opens]), lost
