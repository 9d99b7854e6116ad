"""What narrows a policy as a whole, as rows over the choices: few formats, few changes, conversions, peak memory."""

from __future__ import annotations

from .constraints import Constraints
from .conversion import Conversion
from .peak_memory import chain, shared_inputs

__all__ = [
    "Constraints",
    "Conversion",
    "chain",
    "shared_inputs",
]
