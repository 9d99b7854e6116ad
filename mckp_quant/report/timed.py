"""What layers take in formats on a machine, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from rich.console import Group
from rich.text import Text

from .text import BLANK, table_of

if TYPE_CHECKING:
    from ..timing.result import Timing

_US = 1e3  # nanoseconds
_MS = 1e3  # milliseconds in a second


def timing_report(timing: Timing) -> Group:
    """Microseconds of every layer in every format with their errors, the checks, and whether their sum holds."""
    costs = timing.costs
    rows = [
        (name, *(_cell(int(cost), float(error)) for cost, error in zip(*row, strict=True)))
        for name, *row in zip(costs.layer_names, costs.cost, timing.stderr, strict=True)
    ]
    checks = [
        (each.name, f"{each.predicted * _MS:.4g}", f"{each.measured * _MS:.4g}", f"{each.error:+.1%}")
        for each in timing.checks
    ]
    said = (
        f"{len(rows)} layers in {timing.target}, from {timing.networks} networks, {timing.clocking.rounds} rounds, "
        f"threads: {timing.clocking.threads}, clock: {timing.clocking.clock}\n"
        f"from run to run times differ by {timing.spread:.1%}, networks from the sums by {timing.residual:.1%}; the "
        f"float network took {timing.drift:+.1%} while the checks ran, for which they are corrected"
    )
    return Group(
        Text(said),
        BLANK,
        table_of(("microseconds", *costs.formats), rows, left=1),
        Text("behind +-: the standard error of the difference from the layer's fastest format"),
        BLANK,
        table_of(("network", "sum, ms", "measured, ms", "off by"), checks, left=1),
        BLANK,
        Text(timing.verdict),
    )


def _cell(cost: int, error: float) -> str:
    if cost < 0:
        return "-"
    return f"{cost / _US:.4g}" + (f" +- {error / _US:.2g}" if np.isfinite(error) and error > 0 else "")
