"""Puts a solution together from an answer and its certificate; value and costs are computed anew."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .answer import Status
from .certify import total_value
from .solution import Solution, is_search_ground

if TYPE_CHECKING:
    from collections.abc import Callable

    from .answer import Answer, Solver
    from .problem.problem import Problem
    from .solution import Certificate, LeastBudgets


def solution_of(
    problem: Problem,
    certificate: Certificate,
    answer: Answer,
    solver: Solver | str,
    seed: int,
    seconds: float,
    least: Callable[[], LeastBudgets] | None,
) -> Solution:
    """Put a checked answer together with its certificate.

    Parameters
    ----------
    problem
        The problem.
    certificate
        What is proved.
    answer
        The answer that it is for, in positions of the problem.
    solver
        The solver, or what stands in its place.
    seed, seconds
        The seed that it was given, and the wall time of the call.
    least
        Where the problem is infeasible: finds the least budgets.

    Returns
    -------
    solution
        Value and costs are computed here.
    """
    if answer.choice is None:
        return Solution(
            choice=None,
            value=math.nan,
            cost=(),
            budget=tuple(problem.budget.tolist()),
            status=certificate.status,
            bound=certificate.bound,
            certificate=certificate,
            solver=solver if isinstance(solver, str) else repr(solver),
            seed=seed,
            seconds=seconds,
            stats={**answer.stats, **answer.figures, **answer.differences},
            least=least,
            reason=answer.reason,
        )
    value = total_value(problem, answer.choice)
    exhausted = certificate.status is Status.OPTIMAL and is_search_ground(certificate.ground)
    return Solution(
        choice=problem.label[answer.choice],
        value=value,
        cost=tuple(problem.cost[:, answer.choice].sum(axis=1).tolist()),
        budget=tuple(problem.budget.tolist()),
        status=certificate.status,
        bound=value if exhausted else certificate.bound,
        certificate=certificate,
        solver=solver if isinstance(solver, str) else repr(solver),
        seed=seed,
        seconds=seconds,
        stats={**answer.stats, **answer.figures, **answer.differences},
        auxiliary=answer.auxiliary,
    )
