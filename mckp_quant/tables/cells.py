"""Reads single cells of files and of other programs' objects; every error names the place of the cell."""

from __future__ import annotations

import math
import re
from numbers import Real
from typing import TYPE_CHECKING, TypeGuard

import numpy as np

from ..errors import InvalidInput

if TYPE_CHECKING:
    from .findings import Place

NOT_ALLOWED = "not allowed"  # what stands in a text file for a format that a layer must not have
_NO_NUMBER = {"", "nan", "na", "n/a", "null", "none", "inf", "+inf", "-inf", "infinity", "-infinity"}
_WHOLE = re.compile(r"[+-]?\d{1,19}(\.0*)?")


def _is_real(raw: object) -> TypeGuard[float]:
    return isinstance(raw, Real) and not isinstance(raw, bool | np.bool_)


def is_missing(raw: object, marks: tuple[str, ...]) -> bool:
    """Whether a cell holds no finite number, or one of the marks that stand for none."""
    if raw is None:
        return True
    if isinstance(raw, str):
        return raw.strip().casefold() in _NO_NUMBER or raw.strip() in marks
    if _is_real(raw):
        return not math.isfinite(raw) or f"{float(raw):g}" in marks
    return False


def is_not_allowed(raw: object) -> bool:
    """Whether a cell says that the format is not allowed for the layer."""
    return isinstance(raw, str) and raw.strip().casefold() == NOT_ALLOWED


def number(raw: object, place: Place) -> float:
    """A finite number.

    Parameters
    ----------
    raw
        The cell.
    place
        Where it stands.

    Returns
    -------
    number
        The number.

    Raises
    ------
    InvalidInput
        When it is none.
    """
    if _is_real(raw):
        return float(raw)
    try:
        found = float(str(raw)) if isinstance(raw, str) and "_" not in raw else math.nan
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise InvalidInput(f"{place}: {raw!r} is no number")
    return found


def whole(raw: object, place: Place, *, least: int = 0) -> int:
    """A whole number that is at least `least`.

    Parameters
    ----------
    raw
        The cell.
    place
        Where it stands.
    least
        The least that makes sense.

    Returns
    -------
    number
        The number.

    Raises
    ------
    InvalidInput
        When it is none, or too small.
    """
    found: int | None = None
    if _is_real(raw):
        found = int(raw) if math.isfinite(raw) and raw == int(raw) else None
    elif isinstance(raw, str) and _WHOLE.fullmatch(raw.strip()):
        found = int(raw.strip().partition(".")[0])
    if found is None:
        raise InvalidInput(f"{place}: {raw!r} is no whole number")
    if not least <= found < 2**63:
        raise InvalidInput(f"{place}: {found} must lie between {least} and 2**63 - 1")
    return found


def shape(raw: object, place: Place) -> tuple[int, ...]:
    """A shape such as ``64x3x7x7``, ``(64, 3)`` or ``[64, 3]``.

    Parameters
    ----------
    raw
        The cell.
    place
        Where it stands.

    Returns
    -------
    shape
        The shape.

    Raises
    ------
    InvalidInput
        When it is none.
    """
    parts = re.split(r"[x,\s]+", raw.strip().strip("()[]").strip(" ,")) if isinstance(raw, str) else raw
    if not isinstance(parts, (list, tuple)) or not parts:
        raise InvalidInput(f"{place}: {raw!r} is no shape: write one such as 64x3x7x7")
    return tuple(whole(part, place, least=1) for part in parts)


def names(raw: object, place: Place) -> tuple[str, ...]:
    """Names separated by semicolons, or a list of names.

    Parameters
    ----------
    raw
        The cell.
    place
        Where it stands.

    Returns
    -------
    names
        The names.

    Raises
    ------
    InvalidInput
        When it is neither.
    """
    parts = raw.split(";") if isinstance(raw, str) else raw
    if not isinstance(parts, (list, tuple)) or not all(isinstance(part, str) for part in parts):
        raise InvalidInput(f"{place}: {raw!r} is no list of names: write one such as a;b")
    return tuple(part.strip() for part in parts if part.strip())
