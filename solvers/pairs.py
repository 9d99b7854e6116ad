"""Pairwise terms of the value, and how to share them out among single choices so that a bound remains."""

from __future__ import annotations

import dataclasses
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from .arrays import floats, integers
from .errors import InvalidProblem

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .problem import Problem

EPS = float(np.finfo(np.float64).eps)


@dataclasses.dataclass(frozen=True, eq=False)
class Pairs:
    """Terms that are added to the value of a selection where two choices are both made.

    Attributes
    ----------
    first, second
        ``(n_pairs,)`` int64 choices of different groups, as positions in `Problem.value`. A pair that stands twice
        counts twice.
    value
        ``(n_pairs,)`` float64, finite, of either sign.

    Raises
    ------
    InvalidProblem
        When the lengths differ or an entry is no number.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    value: NDArray[np.float64]

    def __post_init__(self) -> None:
        """Copy, check and freeze the arrays."""
        first, second = integers("pairs.first", self.first, 1), integers("pairs.second", self.second, 1)
        value = floats("pairs.value", self.value)
        if not first.shape == second.shape == value.shape:
            raise InvalidProblem(
                f"pairs has {len(first)} first and {len(second)} second choices and values of shape {value.shape}: "
                "give one of each for every pair"
            )
        with np.errstate(over="ignore"):
            if not np.isfinite(8 * np.abs(value).sum()):
                raise InvalidProblem("pairs.value adds up beyond the range of float64: choose a larger unit")
        for name, array in (("first", first), ("second", second), ("value", value)):
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    @property
    def n_pairs(self) -> int:
        """How many pairs there are."""
        return len(self.value)

    def among(self, choice: NDArray[np.int64]) -> list[float]:
        """The values of the pairs of which both choices are in a selection, given as positions."""
        chosen = np.zeros(int(self._largest) + 1, dtype=bool)
        chosen[choice[choice <= self._largest]] = True
        return list(self.value[chosen[self.first] & chosen[self.second]].tolist())

    def dense(self, n_choices: int) -> NDArray[np.float64]:
        """``(n_choices, n_choices)`` the same as a symmetric matrix: each term stands on both sides of the diagonal."""
        matrix = np.zeros((n_choices, n_choices))
        np.add.at(matrix, (self.first, self.second), self.value)
        return matrix + matrix.T

    def scaled(self, exponent: int) -> Pairs:
        """The same pairs with values times ``2**exponent``."""
        return Pairs(self.first, self.second, np.ldexp(self.value, exponent))

    @cached_property
    def _largest(self) -> int:
        return int(max(self.first.max(initial=0), self.second.max(initial=0)))


def check_pairs(pairs: Pairs, group: NDArray[np.int64]) -> None:
    """Refuse pairs of choices that do not exist or exclude each other.

    Parameters
    ----------
    pairs
        The pairs.
    group
        ``(n_choices,)`` the group of each choice.

    Raises
    ------
    InvalidProblem
        With the first such pair.
    """
    if not isinstance(pairs, Pairs):
        raise InvalidProblem(f"pairs is a {type(pairs).__name__}: give Pairs(first, second, value)")
    for name in ("first", "second"):
        choice = getattr(pairs, name)
        outside = (choice < 0) | (choice >= len(group))
        if outside.any():
            at = int(np.argmax(outside))
            raise InvalidProblem(f"pairs.{name}[{at}] is {choice[at]}: choices go from 0 to {len(group) - 1}")
    same = group[pairs.first] == group[pairs.second]
    if same.any():
        at = int(np.argmax(same))
        raise InvalidProblem(
            f"pair {at} is of the choices {pairs.first[at]} and {pairs.second[at]}, both of group "
            f"{group[pairs.first[at]]}: choices of one group exclude each other"
        )


def no_pairs(problem: Problem, name: str) -> str | None:
    """Why a solver that knows nothing of pairs cannot take a problem, or None."""
    if problem.pairs is None:
        return None
    return f"{name} takes no pairwise terms, the problem has {problem.pairs.n_pairs}: use 'pairwise'"


def shared_out(
    problem: Problem, split: NDArray[np.float64] | None, fits: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], float]:
    """Share the pairwise terms out among single choices, so that what is left over is bounded group pair by group pair.

    For any shares, ``q_ij = s_ij + s_ji + (q_ij - s_ij - s_ji)``: the first two are added to the values of the choices
    ``i`` and ``j``, and the rest of two groups is at least its minimum over their choices (reparametrisation of a
    pairwise model: Werner, 2007, *A linear programming approach to max-sum problem: a review*).

    Parameters
    ----------
    problem
        A problem with pairs.
    split
        ``(n_groups, n_choices)`` float64: ``split[h, i]`` is the share of the terms of choice ``i`` with the choices
        of group ``h`` that goes to ``i``; None for no shares.
    fits
        ``(n_choices,)`` the choices that a feasible selection can hold.

    Returns
    -------
    value
        ``(n_choices,)`` values with the shares, lowered by their rounding error.
    rest
        A number that the rests of all pairs of groups do not add up to less than.
    """
    assert problem.pairs is not None
    matrix = problem.pairs.dense(problem.n_choices)
    shares = np.zeros((problem.n_groups, problem.n_choices)) if split is None else split.copy()
    shares[problem.group, np.arange(problem.n_choices)] = 0  # no choice has terms with its own group
    received = shares[problem.group]  # of choice i (column) from the group of choice j (row)
    slip = 4 * EPS * (np.abs(matrix) + np.abs(received) + np.abs(received.T))
    left = matrix - received - received.T - slip
    left[~fits] = np.inf
    left[:, ~fits] = np.inf
    least = np.minimum.reduceat(np.minimum.reduceat(left, problem.start[:-1], axis=0), problem.start[:-1], axis=1)
    terms = least[np.triu_indices(problem.n_groups, 1)]
    rest = float(terms.sum()) - 2 * (len(terms) + 1) * EPS * float(np.abs(terms).sum())
    magnitude = np.abs(problem.value) + np.abs(shares).sum(axis=0)
    value = problem.value + shares.sum(axis=0) - 2 * (problem.n_groups + 1) * EPS * magnitude
    return value, rest
