"""Many problems in one call, over threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InvalidProblem
from ..front_door import solve
from ..problem.arguments import check_seconds, check_seed, check_whole
from ..problem.arrays import integers
from ..problem.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike

    from ..answer import Solver
    from ..solution import Solution


def solve_many(
    problems: Problem | Sequence[Problem],
    budgets: ArrayLike | None = None,
    solver: Solver | str = "auto",
    *,
    threads: int = 1,
    seconds: float = 60.0,
    seed: int = 0,
    warm: ArrayLike | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> list[Solution]:
    """Solve many problems; each answer is the one that `solve` gives.

    Parameters
    ----------
    problems
        The problems; or one, to be solved under many budgets. What its costs say by themselves is found once then.
    budgets
        ``(n, n_resources)`` integers beside one problem, or ``(n,)`` where that has one resource.
    solver, seed
        As for `solve`, the same for all.
    threads
        How many problems are solved at once, at least 1. Compiled kernels run beside each other, Python does not.
    seconds
        Wall time for each problem.
    warm
        ``(n_groups,)`` labels of one selection that every solve starts from.
    progress
        Called after each solve with the number that are done and the number of all.

    Returns
    -------
    solutions
        In the order of the problems, or of the budgets.

    Raises
    ------
    InvalidProblem
        When budgets stand beside several problems, or an argument makes no sense.
    """
    check_whole("threads", threads, 1)
    check_seconds(seconds)
    check_seed(seed)
    each = _under(problems, budgets) if isinstance(problems, Problem) else list(problems)
    if budgets is not None and not isinstance(problems, Problem):
        raise InvalidProblem(
            f"budgets stand beside {len(each)} problems: give one problem, or problems that have theirs"
        )
    ask = partial(solve, solver=solver, seconds=seconds, seed=seed, warm=warm)
    if threads == 1:
        return [_told(ask(problem), done, len(each), progress) for done, problem in enumerate(each, start=1)]
    with ThreadPoolExecutor(threads) as pool:
        waiting = [pool.submit(ask, problem) for problem in each]
        try:
            for done, future in enumerate(as_completed(waiting), start=1):
                _told(future.result(), done, len(each), progress)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [future.result() for future in waiting]


def _under(problem: Problem, budgets: ArrayLike | None) -> list[Problem]:
    """The problem under each of the budgets, or as it is."""
    if budgets is None:
        return [problem]
    limits = np.asarray(budgets)
    rows = integers("budgets", limits[:, None] if limits.ndim == 1 else limits, 2)
    if rows.shape[1] != problem.n_resources:
        raise InvalidProblem(f"budgets has {rows.shape[1]} columns for {problem.n_resources} resources: give one each")
    problem.measure()
    return [problem.with_budget(row) for row in rows]


def _told(solution: Solution, done: int, total: int, progress: Callable[[int, int], object] | None) -> Solution:
    if progress is not None:
        progress(done, total)
    return solution
