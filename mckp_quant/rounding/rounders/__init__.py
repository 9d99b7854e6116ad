"""Rounders: how a weight is rounded to the numbers that its format can store.

Each is a frozen dataclass whose fields are its options; a new one is a file here and a line in `ROUNDERS`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import unknown
from .gptq import Gptq
from .importance import Importance
from .learned import Learned
from .nearest import Nearest

if TYPE_CHECKING:
    from ..rounder import Rounder

ROUNDERS: dict[str, type[Rounder]] = {each.name: each for each in (Nearest, Gptq, Learned, Importance)}

__all__ = ["ROUNDERS", "Gptq", "Importance", "Learned", "Nearest", "rounder_named"]


def rounder_named(name: str) -> Rounder:
    """The rounder of this name with its default options; raises InvalidInput, with the nearest name, for another."""
    if name not in ROUNDERS:
        raise unknown("rounder", name, ROUNDERS)
    return ROUNDERS[name]()
