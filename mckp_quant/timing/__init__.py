"""Latency tables: whole networks are run under many policies, and what each layer adds in each format is solved for.

The times come from a runtime on the machine at hand, with the error of every cell, and with a check of their sum.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..common.lazy import lazy_names

if TYPE_CHECKING:
    from .measuring import time_layers, time_network
    from .result import Check, Timing
    from .running import Clocking

__all__ = ["Check", "Clocking", "Timing", "time_layers", "time_network"]

__getattr__ = lazy_names(
    __name__,
    {
        "Check": ".result",
        "Clocking": ".running",
        "Timing": ".result",
        "time_layers": ".measuring",
        "time_network": ".measuring",
    },
    {},
)
