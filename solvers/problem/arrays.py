"""Turns what callers pass into arrays of one type, or refuses it by name, position and value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InvalidProblem

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

INT64_MAX = 2**63 - 1
LARGEST_EXACT_FLOAT = 2**53


def as_array(name: str, values: ArrayLike) -> NDArray[Any]:
    """An array of numbers of whatever type they have."""
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise InvalidProblem(f"{name} is not a rectangular array: {error}") from error
    if array.dtype.kind not in "biuf":
        array = np.array(values, dtype=object)  # NumPy may have turned every entry into text because of one
        for flat, entry in enumerate(array.ravel()):
            if not isinstance(entry, (int, float, np.integer, np.floating)):
                raise InvalidProblem(f"{place(name, array, flat)} is {entry!r}: every entry must be a number")
    return array


def at_least_1d(name: str, values: Any) -> NDArray[Any]:
    """An array of numbers, one entry long where a single number is given."""
    if values is None or isinstance(values, str):
        values = [values]
    return np.atleast_1d(as_array(name, values))


def floats(name: str, values: ArrayLike, *, nan: bool = False) -> NDArray[np.float64]:
    """A float64 copy, finite; `nan` lets nan pass."""
    array = as_array(name, values)
    try:
        numbers = np.array(array, dtype=np.float64)
    except OverflowError as error:
        raise InvalidProblem(f"{name} has an entry beyond the range of float64") from error
    wrong = np.isinf(numbers) if nan else ~np.isfinite(numbers)
    if wrong.any():
        flat = int(np.argmax(wrong))
        raise InvalidProblem(f"{place(name, numbers, flat)} is {numbers.ravel()[flat]}: every value must be finite")
    return numbers


def integers(name: str, values: ArrayLike, ndim: int) -> NDArray[np.int64]:
    """An int64 copy of whole numbers, whatever type they came in."""
    array = as_array(name, values)
    if array.ndim != ndim:
        raise InvalidProblem(f"{name} has {array.ndim} dimensions: it must have {ndim}")
    if array.dtype.kind in "bi":
        return np.array(array, dtype=np.int64)
    for flat, entry in enumerate(array.ravel()):
        if entry != entry or entry in (float("inf"), float("-inf")) or entry != int(entry):
            raise InvalidProblem(
                f"{place(name, array, flat)} is {entry}: it must be a whole number (choose a smaller unit)"
            )
        if abs(int(entry)) > INT64_MAX:
            raise InvalidProblem(
                f"{place(name, array, flat)} is {entry}: it does not fit in 64 bits (choose a larger unit)"
            )
        if isinstance(entry, (float, np.floating)) and abs(float(entry)) > LARGEST_EXACT_FLOAT:
            raise InvalidProblem(
                f"{place(name, array, flat)} is the float {entry}: beyond 2**53 floats skip whole "
                "numbers, so give integers"
            )
    return np.array(array, dtype=np.int64)


def run_bounds(entries: NDArray[np.int64]) -> NDArray[np.int64]:
    """``(n_runs + 1,)`` int64 where each run of equal entries begins, and where the last one ends."""
    edge = np.ones(len(entries) + 1, dtype=bool)
    np.not_equal(entries[1:], entries[:-1], out=edge[1:-1])
    return edge.nonzero()[0]


def place(name: str, array: NDArray[Any], flat: int) -> str:
    """How the caller would write the entry at a flat index, such as ``cost[0, 3]``."""
    index = np.unravel_index(flat, array.shape)
    return f"{name}[{', '.join(str(int(i)) for i in index)}]"
