"""Whole numbers that a caller gives: seeds and counts."""

from __future__ import annotations

from numbers import Integral

from ..errors import InvalidInput


def check_seed(seed: object) -> None:
    """Refuse what cannot seed a generator."""
    if not isinstance(seed, Integral) or not 0 <= int(seed) < 2**63:
        raise InvalidInput(f"seed is {seed!r}: it must be a whole number from 0 to 2**63 - 1")


def check_count(name: str, count: object, least: int) -> None:
    """Refuse what is no whole number or too small, under its name."""
    if not isinstance(count, Integral) or int(count) < least:
        raise InvalidInput(f"{name} is {count!r}: it must be a whole number, at least {least}")
