"""Improves a policy by measuring: proposes candidates, races them on the network, confirms on batches held back.

Searches that start from no policy are in the room `search`. The result is plain data; making it needs PyTorch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..common.lazy import lazy_names

if TYPE_CHECKING:
    from .refining import refine
    from .result import Refinement
    from .rounds import Rounds

__all__ = [
    "Refinement",
    "Rounds",
    "refine",
]

__getattr__ = lazy_names(
    __name__,
    {
        "Refinement": ".result",
        "Rounds": ".rounds",
        "refine": ".refining",
    },
    {},
)
