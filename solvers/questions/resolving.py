"""Solves a problem again after a change, and says which groups moved."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from ..certify import total_value
from ..errors import InvalidProblem
from ..front_door import solve
from ..problem.arguments import check_seconds, check_seed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..answer import Solver
    from ..problem.problem import Problem
    from ..solution import Solution


@dataclasses.dataclass(frozen=True, eq=False)
class Resolved:
    """The answer to a changed problem beside the answer to the old one.

    Attributes
    ----------
    solution
        The answer.
    moved
        ``(n,)`` int64 the groups whose label changed, in order; empty without a selection.
    before, after
        ``(n,)`` int64 their labels.
    """

    solution: Solution
    moved: NDArray[np.int64]
    before: NDArray[np.int64]
    after: NDArray[np.int64]


def resolve(
    problem: Problem, previous: Solution, *, solver: Solver | str = "auto", seconds: float = 60.0, seed: int = 0
) -> Resolved:
    """Solve a changed problem starting from the answer to the old one.

    Parameters
    ----------
    problem
        The changed problem: other budgets, values or choices, but the same groups.
    previous
        The answer to the problem as it was.
    solver, seconds, seed
        As for `solve`.

    Returns
    -------
    resolved
        The answer and what moved. Where the old selection is still as good as any, nothing moves.

    Raises
    ------
    InvalidProblem
        When the number of groups is another one, or an argument makes no sense.
    NoSolution
        When the old answer has no selection.
    """
    check_seconds(seconds)
    check_seed(seed)
    before = previous.require().choice
    if before is None or len(before) != problem.n_groups:
        raise InvalidProblem(
            f"the previous solution chooses in {0 if before is None else len(before)} groups, the problem has "
            f"{problem.n_groups}: resolve takes the same groups"
        )
    warm, whole = _start(problem, before)
    solution = solve(problem, solver, seconds=seconds, seed=seed, warm=problem.label[warm])
    cost = problem.cost[:, warm].sum(axis=1)
    if whole and (cost <= problem.budget).all() and total_value(problem, warm) <= solution.value:
        solution = dataclasses.replace(solution, choice=problem.label[warm], cost=tuple(cost.tolist()))
    after = before if solution.choice is None else solution.choice
    moved = np.flatnonzero(after != before)
    return Resolved(solution, moved, before[moved], after[moved])


def _start(problem: Problem, labels: NDArray[np.int64]) -> tuple[NDArray[np.int64], bool]:
    """Positions of the labels, the choice of least value where a label is gone, and whether none is."""
    hit = problem.label == labels[problem.group]
    found = np.logical_or.reduceat(hit, problem.start[:-1])
    order = np.lexsort((problem.value, ~hit, problem.group))
    return order[problem.start[:-1]], bool(found.all())
