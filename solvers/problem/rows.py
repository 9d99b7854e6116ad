"""Further linear constraints on the choices of a problem, in exact integers."""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InvalidProblem
from .arguments import check_whole
from .arrays import integers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


_AUXILIARIES_TRIED = 16  # with more auxiliary binaries than this, not all of their assignments are tried


@dataclasses.dataclass(frozen=True, eq=False)
class Rows:
    """Rows ``lower <= coefficients . variables <= upper``; the matrix is compressed row by row.

    The variables are one binary per choice, 1 where it is chosen, in the order of `Problem.value`, and behind them
    `n_auxiliary` further binaries that cost nothing and occur in these rows only.

    Attributes
    ----------
    indptr
        ``(n_rows + 1,)`` int64: row ``i`` owns ``indptr[i]:indptr[i + 1]`` of `indices` and `coefficients`.
    indices
        ``(n_entries,)`` int64 variables, none twice in a row.
    coefficients
        ``(n_entries,)`` int64; the magnitudes of a row add up to less than 2**62.
    lower, upper
        ``(n_rows,)`` int64, inclusive; ``-2**63 + 1`` and ``2**63 - 1`` stand for no limit.
    n_auxiliary
        How many auxiliary binaries there are.

    Raises
    ------
    InvalidProblem
        With the row and the entry that breaks a rule.
    """

    indptr: NDArray[np.int64]
    indices: NDArray[np.int64]
    coefficients: NDArray[np.int64]
    lower: NDArray[np.int64]
    upper: NDArray[np.int64]
    n_auxiliary: int = 0

    def __post_init__(self) -> None:
        """Copy, check and freeze the arrays."""
        names = ("indptr", "indices", "coefficients", "lower", "upper")
        arrays = {name: integers(f"rows.{name}", getattr(self, name), 1) for name in names}
        check_whole("rows.n_auxiliary", self.n_auxiliary, 0)
        _check_shapes(**arrays)
        _check_entries(**arrays)
        object.__setattr__(self, "n_auxiliary", int(self.n_auxiliary))
        for name, array in arrays.items():
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    @property
    def n_rows(self) -> int:
        """How many rows there are."""
        return len(self.lower)

    def each(self) -> Iterator[IntegerRow]:
        """Row by row; limits that never bind are None."""
        limits = zip(self.lower.tolist(), self.upper.tolist(), strict=True)
        for (first, last), (lower, upper) in zip(itertools.pairwise(self.indptr.tolist()), limits, strict=True):
            row = self.coefficients[first:last]
            least, most = int(np.minimum(row, 0).sum()), int(np.maximum(row, 0).sum())
            yield IntegerRow(
                self.indices[first:last],
                row,
                None if lower <= least else min(lower, most + 1),
                None if upper >= most else max(upper, least - 1),
            )

    def activity(self, n_choices: int, selections: NDArray[np.int64]) -> NDArray[np.int64]:
        """The sums that choices contribute to the rows.

        Parameters
        ----------
        n_choices
            How many choices the problem has.
        selections
            ``(n, k)`` int64 positions: n selections from k groups.

        Returns
        -------
        activity
            ``(n, n_rows)`` int64, exact.
        """
        dense = self._dense(n_choices)
        return np.asarray(dense[:, selections].sum(axis=2).T)

    def admitted(self, n_choices: int, activity: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which selections satisfy every row with one of the assignments of the auxiliary binaries.

        Parameters
        ----------
        n_choices
            How many choices the problem has.
        activity
            ``(n, n_rows)`` int64, what the choices of whole selections contribute.

        Returns
        -------
        admitted
            ``(n,)`` bool; all ``2**n_auxiliary`` assignments are tried.
        """
        found = np.zeros(len(activity), dtype=bool)
        for shift in _assignments(self.n_auxiliary) @ self._dense(n_choices)[:, n_choices:].T:
            found |= self._satisfied(activity + shift)
        return found

    def allow(
        self, n_choices: int, choice: NDArray[np.int64], auxiliary: NDArray[np.int64] | None = None
    ) -> NDArray[np.int64] | None:
        """Find auxiliary binaries with which a selection satisfies every row.

        Parameters
        ----------
        n_choices
            How many choices the problem has.
        choice
            ``(n_groups,)`` int64 positions.
        auxiliary
            ``(n_auxiliary,)`` zeros and ones that are tried first, or None.

        Returns
        -------
        auxiliary
            ``(n_auxiliary,)`` int64; the given ones where they satisfy the rows. None where no assignment does, or
            where the given one does not and there are too many assignments to try them all.
        """
        ways = np.zeros((0, self.n_auxiliary), dtype=np.int64)
        if self.n_auxiliary <= _AUXILIARIES_TRIED:
            ways = _assignments(self.n_auxiliary)
        if auxiliary is not None:
            ways = np.concatenate([auxiliary[None].astype(np.int64), ways])
        own = self._dense(n_choices)
        good = np.flatnonzero(self._satisfied(own[:, choice].sum(axis=1) + ways @ own[:, n_choices:].T))
        return ways[good[0]] if len(good) else None

    def _dense(self, n_choices: int) -> NDArray[np.int64]:
        """``(n_rows, n_variables)``."""
        dense = np.zeros((self.n_rows, n_choices + self.n_auxiliary), dtype=np.int64)
        dense[np.repeat(np.arange(self.n_rows), np.diff(self.indptr)), self.indices] = self.coefficients
        return dense

    def _satisfied(self, activity: NDArray[np.int64]) -> NDArray[np.bool_]:
        return np.asarray(((self.lower <= activity) & (activity <= self.upper)).all(axis=-1))


def _assignments(n: int) -> NDArray[np.int64]:
    """``(2**n, n)`` every way to set so many binaries."""
    return (np.arange(2**n)[:, None] >> np.arange(n)) & 1


@dataclasses.dataclass(frozen=True, eq=False)
class IntegerRow:
    """One constraint ``lower <= coefficient . variable[index] <= upper``; None stands for no limit."""

    index: NDArray[np.int64]
    coefficient: NDArray[np.int64]
    lower: int | None
    upper: int | None


def check_rows(rows: object, n_choices: int) -> None:
    """Refuse rows that do not fit a problem with so many choices."""
    if not isinstance(rows, Rows):
        raise InvalidProblem(f"rows is a {type(rows).__name__}: build Rows first")
    beyond = rows.indices >= n_choices + rows.n_auxiliary
    if beyond.any():
        at = int(np.argmax(beyond))
        raise InvalidProblem(
            f"rows.indices[{at}] is {rows.indices[at]}: {n_choices} choices and {rows.n_auxiliary} auxiliary binaries "
            f"end at {n_choices + rows.n_auxiliary - 1}"
        )


def _check_shapes(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int64],
    coefficients: NDArray[np.int64],
    lower: NDArray[np.int64],
    upper: NDArray[np.int64],
) -> None:
    if not len(indptr) or indptr[0] != 0 or indptr[-1] != len(indices) or (np.diff(indptr) < 0).any():
        raise InvalidProblem(
            f"rows.indptr is {indptr[:20].tolist()}: it must rise from 0 to the number of entries, {len(indices)}"
        )
    if len(coefficients) != len(indices):
        raise InvalidProblem(f"rows.coefficients has {len(coefficients)} entries for {len(indices)} indices")
    for name, limit in (("lower", lower), ("upper", upper)):
        if len(limit) != len(indptr) - 1:
            raise InvalidProblem(f"rows.{name} has {len(limit)} entries for {len(indptr) - 1} rows")


def _check_entries(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int64],
    coefficients: NDArray[np.int64],
    lower: NDArray[np.int64],
    upper: NDArray[np.int64],
) -> None:
    if (indices < 0).any():
        at = int(np.argmax(indices < 0))
        raise InvalidProblem(f"rows.indices[{at}] is {indices[at]}: variables are counted from 0")
    if (lower > upper).any():
        at = int(np.argmax(lower > upper))
        raise InvalidProblem(f"rows.lower[{at}] is {lower[at]}, above rows.upper[{at}] = {upper[at]}")
    for row, (first, last) in enumerate(itertools.pairwise(indptr.tolist())):
        if len(set(indices[first:last].tolist())) < last - first:
            raise InvalidProblem(f"row {row} names a variable twice: add its coefficients up")
        if sum(abs(each) for each in coefficients[first:last].tolist()) >= 2**62:
            raise InvalidProblem(f"the coefficients of row {row} add up to 2**62 or more: choose a larger unit")
