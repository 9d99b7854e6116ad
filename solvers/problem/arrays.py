"""Turns what callers pass into arrays of one type, or refuses it by name, position and value."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InvalidProblem

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

INT64_MAX = 2**63 - 1
LARGEST_EXACT_FLOAT = 2**53


def as_array(name: str, values: ArrayLike, *, gaps: bool = False) -> NDArray[Any]:
    """An array of numbers of whatever type they have.

    Parameters
    ----------
    name
        What the caller calls it.
    values
        The numbers.
    gaps
        Whether entries may be missing: masked by NumPy, None, or NA of pandas. They come back as nan, beside which
        whole numbers stay what they are, in an array of objects. Without it such an entry is refused.

    Returns
    -------
    array
        Of numbers.

    Raises
    ------
    InvalidProblem
        When the array is not rectangular or an entry is no number.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of a masked entry in a list: it is found below
            array = np.asarray(values)
    except (ValueError, TypeError) as error:
        raise InvalidProblem(f"{name} is not a rectangular array: {error}") from error
    masked = _mask_of(values, array.shape)
    if array.dtype.kind not in "biuf":
        array = np.array(values, dtype=object)  # NumPy may have turned every entry into text because of one
        for flat, entry in enumerate(array.ravel()):
            if _is_missing(entry):
                masked.flat[flat] = True
            elif not masked.flat[flat] and not isinstance(entry, (int, float, np.integer, np.floating)):
                raise InvalidProblem(f"{place(name, array, flat)} is {entry!r}: every entry must be a number")
    if not masked.any():
        return array
    if not gaps:
        flat = int(np.argmax(masked))
        entry = array.flat[flat]
        shown = repr(entry) if array.dtype == object and _is_missing(entry) else "masked"
        raise InvalidProblem(f"{place(name, array, flat)} is {shown}: every entry must be a number")
    array = array.astype(np.float64 if array.dtype.kind == "f" else object)
    array[masked] = math.nan
    return array


def _mask_of(values: object, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Which entries NumPy's masks hide; of a list, those of its members."""
    if isinstance(values, np.ma.MaskedArray):
        return np.broadcast_to(np.ma.getmaskarray(values), shape).copy()
    masked = np.zeros(shape, dtype=bool)
    if isinstance(values, (list, tuple)) and len(shape) > 1 and len(values) == shape[0]:
        for index, each in enumerate(values):
            if isinstance(each, (list, tuple, np.ma.MaskedArray)):
                masked[index] = _mask_of(each, shape[1:])
    elif isinstance(values, (list, tuple)) and len(shape) == 1:
        masked[:] = [each is np.ma.masked for each in values]
    return masked


def _is_missing(entry: object) -> bool:
    """Whether an entry is None, NumPy's masked, or NA (or NaT) of pandas, which is not imported for that."""
    if entry is None or entry is np.ma.masked:
        return True
    kind = type(entry)
    return kind.__name__ in ("NAType", "NaTType") and kind.__module__.partition(".")[0] == "pandas"


def at_least_1d(name: str, values: Any) -> NDArray[Any]:
    """An array of numbers, one entry long where a single number is given."""
    if values is None or isinstance(values, str):
        values = [values]
    return np.atleast_1d(as_array(name, values))


def floats(name: str, values: ArrayLike, *, nan: bool = False) -> NDArray[np.float64]:
    """A float64 copy, finite; `nan` lets nan pass."""
    array = as_array(name, values, gaps=nan)
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
    if _are_whole(array):
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


def _are_whole(array: NDArray[Any]) -> bool:
    """Whether an array of unsigned or floating numbers converts as it stands; else its entries are looked at."""
    if array.dtype.kind == "u":
        return int(array.max(initial=0)) <= INT64_MAX
    if array.dtype.kind != "f":
        return False
    # nan and infinity are not within the limit.
    return bool((np.abs(array) <= LARGEST_EXACT_FLOAT).all() and (array == np.trunc(array)).all())


def run_bounds(entries: NDArray[np.int64]) -> NDArray[np.int64]:
    """``(n_runs + 1,)`` int64 where each run of equal entries begins, and where the last one ends."""
    edge = np.ones(len(entries) + 1, dtype=bool)
    np.not_equal(entries[1:], entries[:-1], out=edge[1:-1])
    return edge.nonzero()[0]


def least_of(numbers: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Indices of so many of the least numbers, rising; of equal ones the first."""
    limit = np.partition(numbers, count - 1)[count - 1]
    keep = numbers < limit
    keep[(numbers == limit).nonzero()[0][: count - np.count_nonzero(keep)]] = True
    least: NDArray[np.int64] = keep.nonzero()[0]
    return least


def place(name: str, array: NDArray[Any], flat: int) -> str:
    """How the caller would write the entry at a flat index, such as ``cost[0, 3]``."""
    index = np.unravel_index(flat, array.shape)
    return f"{name}[{', '.join(str(int(i)) for i in index)}]"
