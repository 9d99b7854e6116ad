"""Numbers as people read them."""

from __future__ import annotations

import math


def number(amount: float | None, digits: int = 5) -> str:
    """A number in significant digits; a dash where there is none."""
    if amount is None or math.isnan(amount):
        return "-"
    return f"{amount:.{digits}g}"


def percent(share: float | None) -> str:
    """A share as a percentage; a dash where there is none."""
    return "-" if share is None or math.isnan(share) else f"{100 * share:.3g}%"


def with_error(amount: float, stderr: float) -> str:
    """A number with its standard error, where there is one."""
    return number(amount, 4) if math.isnan(stderr) else f"{number(amount, 4)} +- {number(stderr, 2)}"


def counted(count: int, thing: str, things: str = "") -> str:
    """How many of something there are, such as ``"1 layer"`` or ``"12 layers"``."""
    return f"{count:,} {thing if count == 1 else things or f'{thing}s'}"


def log_share(amount: float, largest: float, decades: float) -> float:
    """Where an amount above 0 lies on the logarithmic way to the largest: 1 there, 0 so many decades below or less."""
    return min(max(1 + math.log10(amount / largest) / decades, 0.0), 1.0) if amount > 0 else 0.0
