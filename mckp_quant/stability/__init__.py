"""How sure a table is of its policy: other tables that other samples might have given, regret, robust policies.

Only the table is used, never the network; torch may not come in.
"""

from __future__ import annotations

from .resolving import check_stability
from .result import Stability
from .sanity import check_table

__all__ = [
    "Stability",
    "check_stability",
    "check_table",
]
