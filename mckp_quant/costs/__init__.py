"""What a layer costs in a format, in whole units: bytes, stored bits, bit operations, experts per token.

Costs are exact integers. Measured ones come from cost tables; torch may not come in.
"""

from __future__ import annotations

from .costs import RESOURCES, VARIANTS, Budget, Resource
from .experts import active_costs

__all__ = [
    "RESOURCES",
    "VARIANTS",
    "Budget",
    "Resource",
    "active_costs",
]
