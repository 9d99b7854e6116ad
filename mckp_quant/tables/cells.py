"""Reads single cells of files and of other programs' objects; every error names the place of the cell."""

from __future__ import annotations

import contextlib
import functools
import json
import math
import re
from numbers import Real
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from ..errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .findings import Place

NOT_ALLOWED = "not allowed"  # what stands in a text file for a format that a layer must not have
_NO_NUMBER = {"", "nan", "na", "n/a", "null", "none", "inf", "+inf", "-inf", "infinity", "-infinity"}
_SIZE = re.compile(r"[1-9][0-9]{0,17}")
_QUOTE = "'"
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet begins to compute at
_WHOLE = re.compile(r"[+-]?\d{1,19}(\.0*)?")


def _is_real(raw: object) -> TypeGuard[float]:
    return isinstance(raw, Real) and not isinstance(raw, bool | np.bool_)


def is_nothing(raw: object) -> bool:
    """Whether an entry is none at all: None, what a mask of NumPy hides, or NA or NaT of pandas."""
    # By their names, so that pandas is neither needed nor loaded.
    return raw is None or raw is np.ma.masked or type(raw).__name__ in {"NAType", "NaTType"}


def is_blank(raw: object) -> bool:
    """Whether nothing is said: no entry, nan, or a text without letters."""
    if isinstance(raw, str):
        return not raw.strip()
    return is_nothing(raw) or (isinstance(raw, float | np.floating) and math.isnan(raw))


def is_unsaid(fact: str, raw: object) -> bool:
    """Whether a fact of a layer is left out: its entry is blank, but the kind, a free text, may consist of blanks."""
    return is_blank(raw) and not (fact == "kind" and isinstance(raw, str) and raw)


def unmasked(entries: Any, missing: object) -> Any:
    """Numbers without masks.

    Parameters
    ----------
    entries
        An array, a masked one, a data frame, or lists of any of these.
    missing
        What to put where a mask hides an entry, or None or NA stands.

    Returns
    -------
    numbers
        The same, as arrays and lists without any of these.
    """
    if isinstance(entries, np.ma.MaskedArray) and entries is not np.ma.masked:
        plain: np.ndarray[Any, Any] = np.ma.getdata(entries)
        hidden = np.ma.getmaskarray(entries)
        if not hidden.any():
            return unmasked(plain, missing)
        plain = plain.astype(object)
        plain[hidden] = missing
        return unmasked(plain, missing).tolist()
    if is_nothing(entries):
        return missing
    if isinstance(entries, list | tuple):
        plain_rows = (unmasked(entry, missing) for entry in entries)
        return [row.tolist() if isinstance(row, np.ndarray) else row for row in plain_rows]
    if hasattr(entries, "to_numpy"):  # a data frame or a column of one
        entries = entries.to_numpy()
    if isinstance(entries, np.ndarray) and entries.dtype.kind == "O":
        found = entries.copy()
        for at, entry in np.ndenumerate(entries):
            found[at] = unmasked(entry, missing)
        return found
    return entries


def is_missing(raw: object, marks: tuple[str, ...]) -> bool:
    """Whether a cell holds no finite number, or one of the marks that stand for none."""
    if is_nothing(raw):
        return True
    if isinstance(raw, str):
        return raw.strip().casefold() in _NO_NUMBER or raw.strip() in marks
    if _is_real(raw):
        return not math.isfinite(raw) or f"{float(raw):g}" in marks
    return False


def is_not_allowed(raw: object) -> bool:
    """Whether a cell says that the format is not allowed for the layer."""
    return isinstance(raw, str) and raw.strip().casefold() == NOT_ALLOWED


def without_percent(raw: object) -> tuple[object, bool]:
    """A cell without the sign behind a percentage, and whether there was one: such a number counts hundredths."""
    if isinstance(raw, str) and raw.strip().endswith("%"):
        return raw.strip()[:-1], True
    return raw, False


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
    if isinstance(raw, str) and (found := _known_shape(raw)) is not None:
        return found
    parts = _parts(raw) if isinstance(raw, str) else raw
    if not isinstance(parts, (list, tuple)) or not parts:
        raise InvalidInput(f"{place}: {raw!r} is no shape: write one such as 64x3x7x7")
    return tuple(whole(part, place, least=1) for part in parts)


def _parts(text: str) -> list[str]:
    return re.split(r"[x,\s]+", text.strip().strip("()[]").strip(" ,"))


@functools.lru_cache(maxsize=4096)
def _known_shape(text: str) -> tuple[int, ...] | None:
    """The shape that a text says, remembered because layers share theirs; None where it has to be looked at closely."""
    parts = _parts(text)
    return tuple(map(int, parts)) if all(map(_SIZE.fullmatch, parts)) else None


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
    parts = _split(raw) if isinstance(raw, str) else raw
    if not isinstance(parts, (list, tuple)) or not all(isinstance(part, str) for part in parts):
        raise InvalidInput(f"{place}: {raw!r} is no list of names: write one such as a;b")
    return tuple(part for part in parts if part)


def joined(parts: Iterable[str]) -> str:
    """Names as one text that `names` reads: separated by semicolons, or as a JSON list where that would change them."""
    found = list(parts)
    text = ";".join(found)
    return text if not found or _split(text) == found else json.dumps(found)


def _split(text: str) -> list[object]:
    if text.startswith("["):
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, list):
            return found
    return [part.strip() for part in text.split(";")]


def quoted(text: str) -> str:
    """Text for a cell of a CSV file, such that `unquoted` gives it back and no spreadsheet takes it for a formula.

    Text that begins like a formula, has blanks at an end, or begins with a quote is put between single quotes. Text
    with what cannot be seen, or what turns the direction of writing, is put there as JSON, which escapes it.
    """
    if not text.isprintable():
        return f"{_QUOTE}{json.dumps(text)}{_QUOTE}"
    odd = text[:1] in _FORMULA or text != text.strip() or text.startswith(_QUOTE)
    return f"{_QUOTE}{text}{_QUOTE}" if odd and text else text


def unquoted(raw: object) -> object:
    """What stands in a cell: without blanks at its ends, or as it is where it stands between single quotes."""
    if not isinstance(raw, str):
        return raw
    text = raw.strip()
    if not text.startswith(_QUOTE):
        return text
    if len(text) <= 2 or not text[0] == text[-1] == _QUOTE:
        return text
    if text[1] == text[-2] == '"' and "\\" in text:
        with contextlib.suppress(ValueError):
            return str(json.loads(text[1:-1]))
    return text[1:-1]
