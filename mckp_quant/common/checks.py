"""Numbers that a caller gives: one check for each kind, so that the same wrong value gets the same words everywhere."""

from __future__ import annotations

import math
from numbers import Integral, Real

from ..errors import InvalidInput

_SEED_BITS = 63


def check_seed(seed: object) -> None:
    """Refuse what cannot seed a generator; raises InvalidInput."""
    if not _is_whole(seed) or not 0 <= int(seed) < 2**_SEED_BITS:  # type: ignore[call-overload]
        raise InvalidInput(f"seed is {seed!r}: it must be a whole number from 0 to 2**{_SEED_BITS} - 1")


def check_count(name: str, count: object, least: int, most: int | None = None) -> int:
    """A count as a plain int; raises InvalidInput under the given name where it is no whole number or out of range."""
    if not _is_whole(count) or int(count) < least or (most is not None and int(count) > most):  # type: ignore[call-overload]
        wanted = f", at least {least}" if most is None else f" from {least} to {most}"
        raise InvalidInput(f"{name} is {count!r}: it must be a whole number{wanted}")
    return int(count)  # type: ignore[call-overload, no-any-return]


def check_least(name: str, number: object, least: float) -> None:
    """Refuse what is no number or too small; infinity passes; raises InvalidInput under the given name."""
    if not _is_real(number) or not float(number) >= least:  # type: ignore[arg-type]
        raise InvalidInput(f"{name} is {number!r}: it must be a number, at least {least:g}")


def check_probability(name: str, number: object) -> None:
    """Refuse what is not from 0 to 1, both included; raises InvalidInput under the given name."""
    if not _is_real(number) or not 0 <= float(number) <= 1:  # type: ignore[arg-type]
        raise InvalidInput(f"{name} is {number!r}: it must be a number from 0 to 1")


def check_fraction(name: str, share: object) -> None:
    """Refuse what is not above 0 and below 1; raises InvalidInput under the given name."""
    if not _is_real(share) or not 0 < float(share) < 1:  # type: ignore[arg-type]
        raise InvalidInput(f"{name} is {share!r}: it must be a number between 0 and 1")


def check_positive(name: str, number: object) -> None:
    """Refuse what is no finite number above 0; raises InvalidInput under the given name."""
    if not _is_real(number) or not 0 < float(number) < math.inf:  # type: ignore[arg-type]
        raise InvalidInput(f"{name} is {number!r}: it must be a number above 0")


def check_seconds(seconds: object) -> None:
    """Refuse what is no time limit, which may be infinite; raises InvalidInput."""
    if not _is_real(seconds) or not float(seconds) > 0:  # type: ignore[arg-type]
        raise InvalidInput(f"seconds is {seconds!r}: give a number of seconds above 0")


def _is_whole(number: object) -> bool:
    return isinstance(number, Integral) and not isinstance(number, bool)


def _is_real(number: object) -> bool:
    return not isinstance(number, bool) and isinstance(number, Real) and not math.isnan(number)
