"""Why a solver cannot take a problem, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .problem import Problem


def refusal(problem: Problem, name: str) -> str | None:
    """Why a solver that knows nothing of rows and pairs cannot take a problem, or None."""
    if problem.rows is None:
        return no_pairs(problem, name)
    return f"{name} takes no further rows, the problem has {problem.rows.n_rows}: use 'cp_sat', 'highs' or 'pulp'"


def no_pairs(problem: Problem, name: str) -> str | None:
    """Why a solver that knows nothing of pairs cannot take a problem, or None."""
    if problem.pairs is None:
        return None
    return f"{name} takes no pairwise terms, the problem has {problem.pairs.n_pairs}: use 'pairwise'"
