"""What a number can be stored as: schemes, formats, ranges of inputs, bytes on disk, what each target takes.

Names, integers and bits only. Weights are rounded in the room of rounding; torch may not come in.
"""

from __future__ import annotations

from .capabilities import TARGETS, Capability
from .format import Format, as_formats
from .menus import menu
from .ranges import ActivationRanges, Grid, grid_of
from .schemes import ActivationScheme, Scheme, WeightScheme, scheme_of

__all__ = [
    "TARGETS",
    "ActivationRanges",
    "ActivationScheme",
    "Capability",
    "Format",
    "Grid",
    "Scheme",
    "WeightScheme",
    "as_formats",
    "grid_of",
    "menu",
    "scheme_of",
]
