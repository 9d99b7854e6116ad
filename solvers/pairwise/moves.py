"""Improves a selection of a problem with pairwise terms by changing one group or two."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..problem.problem import Problem

_WORTH = 1e-12  # of the magnitude of a selection's terms, that a change must win


def descend(
    problem: Problem, matrix: NDArray[np.float64], choice: NDArray[np.int64], deadline: float
) -> NDArray[np.int64]:
    """Make the best change of one group, or else of two groups at once, as long as there is one.

    Parameters
    ----------
    problem
        The problem.
    matrix
        ``(n_choices, n_choices)`` its pairwise terms, symmetric.
    choice
        ``(n_groups,)`` positions of a selection within the budgets.
    deadline
        Of `time.perf_counter`.

    Returns
    -------
    choice
        A selection within the budgets that no change of two groups improves, unless the time ran out.
    """
    value = _value(problem, matrix, choice)
    while time.perf_counter() < deadline:
        change = _best_change(problem, matrix, choice)
        if change is None:
            break
        changed = choice.copy()
        changed[problem.group[change]] = change
        after = _value(problem, matrix, changed)
        if not after < value:  # the gain was rounding: beside huge terms exchanges could go round in circles
            break
        choice, value = changed, after
    return choice


def _value(problem: Problem, matrix: NDArray[np.float64], choice: NDArray[np.int64]) -> float:
    return float(problem.value[choice].sum() + matrix[np.ix_(choice, choice)].sum() / 2)


def _best_change(problem: Problem, matrix: NDArray[np.float64], choice: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Positions to change to, one or two; None where nothing improves."""
    present = choice[problem.group]  # for each choice, what its group has now
    within = matrix[:, choice].sum(axis=1)
    gain = problem.value + within
    gain = gain - gain[present]
    cost = problem.cost - problem.cost[:, present]
    room = problem.budget - problem.cost[:, choice].sum(axis=1)
    worth = -_WORTH * float(np.abs(problem.value[choice]).sum() + np.abs(within[choice]).sum())
    single = np.where((cost <= room[:, None]).all(axis=0), gain, np.inf)
    at = int(np.argmin(single))
    if single[at] < worth:
        return np.array([at])
    # Only the changes that could take part: a pair's gain is the sum of both and a correction.
    moves = np.flatnonzero(present != np.arange(problem.n_choices))
    here = present[moves]
    both = gain[moves][:, None] + gain[moves][None, :]
    both += matrix[np.ix_(moves, moves)] - matrix[np.ix_(moves, here)]
    both += matrix[np.ix_(here, here)] - matrix[np.ix_(here, moves)]
    wrong = problem.group[moves][:, None] == problem.group[moves][None, :]
    for row, left in zip(cost, room.tolist(), strict=True):
        wrong |= row[moves][:, None] + row[moves][None, :] > left
    both[wrong] = np.inf
    if both.size == 0 or both.min() >= worth:
        return None
    first, second = np.unravel_index(int(np.argmin(both)), both.shape)
    return moves[[int(first), int(second)]]
