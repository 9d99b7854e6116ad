"""Statistics of inputs: a network is watched as it runs, and for every layer sums over its inputs are gathered.

`watching` sees every multiplication with a layer's weight, `patches` gives its rows, and `gathering` sums over them.
"""

from __future__ import annotations

from .gathering import FLOAT_INPUT as FLOAT_INPUT
from .gathering import GramSums as GramSums
from .gathering import for_lookups as for_lookups
from .gathering import gather_statistics as gather_statistics
from .gathering import statistics_in_waves as statistics_in_waves
from .watching import Use as Use
from .watching import Watch as Watch
from .watching import counted as counted
from .watching import mask_of as mask_of
