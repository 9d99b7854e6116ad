"""Terms between layers, which say what their errors do to each other: measures them, and solves with them.

Measuring needs PyTorch; solving with a matrix from a file does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..common.lazy import lazy_names

if TYPE_CHECKING:
    from .form import Interactions, allocate_with_interactions
    from .measuring import measure_interactions

__all__ = [
    "Interactions",
    "allocate_with_interactions",
    "measure_interactions",
]

__getattr__ = lazy_names(
    __name__,
    {
        "Interactions": ".form",
        "allocate_with_interactions": ".form",
        "measure_interactions": ".measuring",
    },
    {},
)
