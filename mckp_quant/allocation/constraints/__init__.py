"""Constraints on a policy as a whole: few formats, few changes, chains of bits, conversions, peak memory.

Each becomes linear rows or resources of the problem. Costs of single layers may not come in: they are in costs/.
"""

from __future__ import annotations

from .constraints import Constraints
from .conversion import Conversion
from .peak_memory import chain, shared_inputs

__all__ = [
    "Constraints",
    "Conversion",
    "chain",
    "shared_inputs",
]
