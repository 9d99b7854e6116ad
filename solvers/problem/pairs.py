"""Pairwise terms of the value: numbers that count where two choices are both made."""

from __future__ import annotations

import dataclasses
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InvalidProblem
from .arrays import floats, integers

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclasses.dataclass(frozen=True, eq=False)
class Pairs:
    """Terms that are added to the value of a selection where two choices are both made.

    Attributes
    ----------
    first, second
        ``(n_pairs,)`` int64 choices of different groups, as positions in `Problem.value`. A pair that occurs twice
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
