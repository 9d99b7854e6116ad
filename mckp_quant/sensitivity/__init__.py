"""How much the loss rises when one layer is stored in one format: planned, measured, and taken up again.

The estimators are in `estimators/`, what they share in `engine/`. No policy is chosen here. PyTorch is needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..common.lazy import lazy_names

if TYPE_CHECKING:
    from .measuring import measure
    from .planning import Plan, plan

__all__ = [
    "Plan",
    "measure",
    "plan",
]

__getattr__ = lazy_names(
    __name__,
    {
        "Plan": ".planning",
        "measure": ".measuring",
        "plan": ".planning",
    },
    {},
)
