"""A policy improved by measuring: candidates are proposed, raced on the real network, confirmed on held-back batches.

What is searched blindly is in the room of search. The result is plain data; finding it needs PyTorch.
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
