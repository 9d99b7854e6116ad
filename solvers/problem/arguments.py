"""Numbers and words that a caller gives: the same wrong one gets the same error, in the same words, everywhere."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeGuard

import numpy as np

from ..errors import InvalidProblem
from .arrays import INT64_MAX

if TYPE_CHECKING:
    from collections.abc import Sequence


def check_seed(seed: object) -> None:
    """Refuse what cannot seed a generator; raises InvalidProblem."""
    if not is_whole(seed) or not 0 <= seed <= INT64_MAX:
        raise InvalidProblem(f"seed is {seed!r}: it must be a whole number from 0 to 2**63 - 1")


def check_whole(name: str, number: object, least: int) -> None:
    """Refuse what is no whole number or too small; raises InvalidProblem."""
    if not is_whole(number) or number < least:
        raise InvalidProblem(f"{name} is {number!r}: it must be a whole number, at least {least}")


def check_share(name: str, number: object) -> None:
    """Refuse what is no number from 0 to 1; raises InvalidProblem."""
    if not is_number(number) or not 0 <= number <= 1:
        raise InvalidProblem(f"{name} is {number!r}: it must be a number from 0 to 1")


def check_seconds(seconds: object) -> None:
    """Refuse what is no time limit, which may be infinite; raises InvalidProblem."""
    if not is_number(seconds) or not seconds > 0:
        raise InvalidProblem(f"seconds is {seconds!r}: give a number of seconds above 0")


def check_member(name: str, entry: object, known: Sequence[str]) -> None:
    """Refuse what is none of the known words; raises InvalidProblem."""
    if entry not in known:
        raise InvalidProblem(f"{name} is {entry!r}: it must be one of {', '.join(known)}")


def is_whole(number: object) -> TypeGuard[int]:
    """Whether this is a whole number, of a type that only holds such; a truth value is none."""
    return isinstance(number, (int, np.integer)) and not isinstance(number, bool)


def is_number(number: object) -> TypeGuard[float]:
    """Whether this is a number, finite or not; a truth value is none."""
    return is_whole(number) or isinstance(number, (float, np.floating))


def is_finite(number: object) -> TypeGuard[float]:
    """Whether this is a finite number."""
    return is_whole(number) or (is_number(number) and math.isfinite(number))
