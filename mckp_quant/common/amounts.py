"""Amounts as people write them, read exactly: ``"90kB"``, ``"1KiB"``, ``"1.2G"``, ``"25%"``, ``2.5``."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from numbers import Integral, Rational, Real
from typing import TYPE_CHECKING

from ..errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping

LIMIT = 2**63  # what does not fit a 64-bit integer is no budget

_DECIMAL = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15}
_BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50}
_PREFIXES = _DECIMAL | _BINARY
# The exponent is short: 10 to the power of a billion would otherwise be computed before it is refused.
_TEXT = re.compile(r"([-+]?(?:\d{1,40}(?:\.\d{0,40})?|\.\d{1,40})(?:[eE][-+]?\d{1,3})?)\s*([A-Za-z]*|%)")

Amount = int | float | str | Fraction | Decimal


@dataclass(frozen=True)
class Quantity:
    """An exact number, and whether it is a percentage.

    Attributes
    ----------
    number
        The number; 25 for ``"25%"``, 90,000 for ``"90kB"``.
    percent
        Whether it is a share of a whole that the caller knows.
    """

    number: Fraction
    percent: bool = False

    def of(self, whole: int) -> Fraction:
        """The amount itself, or this percentage of the whole."""
        return self.number * whole / 100 if self.percent else self.number


def read(name: str, value: Amount, symbol: str | None = None, units: Mapping[str, int] | None = None) -> Quantity:
    """Read an amount exactly; a float counts as the shortest decimal that means it, so 2.4 is 24/10.

    Parameters
    ----------
    name
        What the amount is for, for the error.
    value
        A number, or a number with a unit as text.
    symbol
        The unit that may follow a prefix: ``"B"`` for bytes, ``""`` for plain counts, None where only numbers and
        percentages make sense.
    units
        Whole units by name, such as ``{"ns": 1, "us": 1_000}``, in the place of prefixes and a symbol.

    Returns
    -------
    quantity
        The exact amount.

    Raises
    ------
    InvalidInput
        When the value is negative, not finite, beyond 2**63, or cannot be read.
    """
    quantity = _from_text(name, value, symbol, units) if isinstance(value, str) else Quantity(_from_number(name, value))
    if quantity.number < 0:
        raise InvalidInput(f"{name} = {value!r} is negative: it must be at least 0")
    if quantity.number >= LIMIT:
        raise InvalidInput(f"{name} = {value!r} is beyond 2**63: no budget is that large")
    return quantity


def bytes_of(name: str, value: Amount) -> int:
    """Read a number of bytes, rounded down; raises InvalidInput as `read` does, and for a percentage."""
    quantity = read(name, value, "B")
    if quantity.percent:
        raise InvalidInput(f"{name} = {value!r} is a percentage, but of nothing: write bytes, such as '500MB'")
    return int(quantity.number)


def _from_number(name: str, value: object) -> Fraction:
    if isinstance(value, bool) or not isinstance(value, (Real, Decimal)):
        raise InvalidInput(f"{name} = {value!r} is no amount: give a number, or text such as '90kB' or '25%'")
    if not math.isfinite(value):
        raise InvalidInput(f"{name} = {value!r} is not finite: give a number that is at least 0")
    if isinstance(value, (Integral, Rational)):
        return Fraction(int(value)) if isinstance(value, Integral) else Fraction(value)
    return Fraction(value) if isinstance(value, Decimal) else Fraction(repr(float(value)))


def _from_text(name: str, value: str, symbol: str | None, units: Mapping[str, int] | None) -> Quantity:
    match = _TEXT.fullmatch(value.strip())
    if match is None:
        raise InvalidInput(f"{name} = {value!r} cannot be read: write a number, {_examples(symbol)}")
    number, unit = Fraction(match.group(1)), match.group(2)
    if unit == "%":
        return Quantity(number, percent=True)
    if units and unit:
        if unit not in units:
            raise InvalidInput(
                f"{name} = {value!r} has the unit {unit!r}: known are {', '.join(units)}, or a percentage"
            )
        return Quantity(number * units[unit])
    if symbol is None:
        if unit:
            raise InvalidInput(f"{name} = {value!r} has the unit {unit!r}: write a number, {_examples(symbol)}")
        return Quantity(number)
    prefix = unit.removesuffix(symbol) if symbol else unit
    if prefix not in _PREFIXES:
        raise InvalidInput(f"{name} = {value!r} has the unknown unit {unit!r}: write a number, {_examples(symbol)}")
    return Quantity(number * _PREFIXES[prefix])


def _examples(symbol: str | None) -> str:
    if symbol is None:
        return "such as '2.5', or a percentage such as '25%'"
    if symbol:
        return f"such as '90k{symbol}' (90,000) or '1Ki{symbol}' (1,024), or a percentage such as '25%'"
    return "such as '1.2G' (1,200,000,000), or a percentage such as '25%'"
