"""Statistics of inputs: a network is watched as it runs, and for every layer sums over its inputs are gathered.

`watching` sees every multiplication with a layer's weight, `patches` gives its rows, and `gathering` sums over them.
"""

from __future__ import annotations

from .gathering import FLOAT_INPUT, GramSums, for_lookups, gather_statistics, statistics_in_waves
from .watching import Use, Watch, counted, mask_of

__all__ = [
    "FLOAT_INPUT",
    "GramSums",
    "Use",
    "Watch",
    "counted",
    "for_lookups",
    "gather_statistics",
    "mask_of",
    "statistics_in_waves",
]
