"""Loss against a budget: the whole trade-off of a table, and the smallest policy that a network measured can bear.

The front, its points and the questions about one answer are plain data; measuring the points needs PyTorch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..common.lazy import lazy_names

if TYPE_CHECKING:
    from .fronts import Front
    from .point import Point
    from .questions import Explained, explain, k_best
    from .result import Measured, Selection, Smallest
    from .selecting import select
    from .shrinking import smallest
    from .walking import front

__all__ = [
    "Explained",
    "Front",
    "Measured",
    "Point",
    "Selection",
    "Smallest",
    "explain",
    "front",
    "k_best",
    "select",
    "smallest",
]

__getattr__ = lazy_names(
    __name__,
    {
        "Explained": ".questions",
        "Front": ".fronts",
        "Measured": ".result",
        "Point": ".point",
        "Selection": ".result",
        "Smallest": ".result",
        "explain": ".questions",
        "front": ".walking",
        "k_best": ".questions",
        "select": ".selecting",
        "smallest": ".shrinking",
    },
    {},
)
