"""What layers add to each other's errors: terms between layers, measured once and solved with.

Measuring needs PyTorch; a matrix in a file is solved with without it.
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
