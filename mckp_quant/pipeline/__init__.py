"""The whole way in one call: from a network to a checked result, step by step, each kept and resumable.

`quantize` does it from Python, a `Recipe` on the command line (``mckp-quant run``). Running needs PyTorch, reading
recipes does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..common.lazy import lazy_names

if TYPE_CHECKING:
    from .calibration import CalibrationSet
    from .quantizing import quantize
    from .recipes.recipe import DataEntry, Recipe
    from .result import Candidate, Decision, Quantized
    from .settings import Settings

__all__ = [
    "CalibrationSet",
    "Candidate",
    "DataEntry",
    "Decision",
    "Quantized",
    "Recipe",
    "Settings",
    "quantize",
]

__getattr__ = lazy_names(
    __name__,
    {
        "CalibrationSet": ".calibration",
        "Candidate": ".result",
        "DataEntry": ".recipes.recipe",
        "Decision": ".result",
        "Quantized": ".result",
        "Recipe": ".recipes.recipe",
        "Settings": ".settings",
        "quantize": ".quantizing",
    },
    {},
)
