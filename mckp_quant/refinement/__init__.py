"""Improves a policy by measuring: proposes candidates, races them on the network, confirms on batches held back.

Searches that start from no policy are in the room `search`. The result is plain data; making it needs PyTorch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..common.lazy import lazy_names

if TYPE_CHECKING:
    from .confirming import confirm_table
    from .refining import refine
    from .result import Confirmation, Refinement
    from .rounds import Rounds

__all__ = [
    "Confirmation",
    "Refinement",
    "Rounds",
    "confirm_table",
    "refine",
]

__getattr__ = lazy_names(
    __name__,
    {
        "Confirmation": ".result",
        "Refinement": ".result",
        "Rounds": ".rounds",
        "confirm_table": ".confirming",
        "refine": ".refining",
    },
    {},
)
