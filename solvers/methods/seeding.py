"""Selections to start from: what relax and greedy find, so that no search ends below them."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from ..bounds.normal_form import normalise
from ..certify import total_value
from .greedy import Greedy
from .relax import Relax

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..problem.problem import Problem

_GRACE = 0.1  # seconds past the deadline that greedy has where relax used up the time


def seed_of(problem: Problem, deadline: float) -> NDArray[np.int64] | None:
    """The better of what greedy and relax find.

    Parameters
    ----------
    problem
        A problem in which every budget by itself can be met.
    deadline
        `time.perf_counter` reading at which to stop; soon after it there is a selection or there is none.

    Returns
    -------
    selection
        ``(n_groups,)`` int64 positions within every budget and row, or None. Both know nothing of rows and of pairwise
        terms: with rows what they find may be of no use, with pairwise terms it need not be good.
    """
    normal = normalise(problem).problem
    found = []
    for solver, grace in ((Relax(), 0.0), (Greedy(), _GRACE)):
        left = max(deadline + grace - time.perf_counter(), 0.0)
        found.append(solver(normal, seconds=left, seed=0, warm=None).choice)
    return better_of(problem, *found)


def better_of(problem: Problem, *selections: NDArray[np.int64] | None) -> NDArray[np.int64] | None:
    """The selection of least value that is within every budget and row; of equal ones the first; None without one.

    Parameters
    ----------
    problem
        The problem.
    selections
        ``(n_groups,)`` int64 positions each, or None.

    Returns
    -------
    selection
        One of them, or None.
    """
    best, least = None, math.inf
    for selection in selections:
        if selection is None or not allows(problem, selection):
            continue
        value = total_value(problem, selection)
        if value < least:
            best, least = selection, value
    return best


def allows(problem: Problem, selection: NDArray[np.int64]) -> bool:
    """Whether a selection is within every budget, and within every row with some auxiliary binaries."""
    if (problem.cost[:, selection].sum(axis=1) > problem.budget).any():
        return False
    return problem.rows is None or problem.rows.allow(problem.n_choices, selection) is not None
