"""Sensitivities in the JSON files of other tools: one tool a file, and one line here.

A reader says what stands where, and decides nothing about odd cells: that is for `handling`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .aimet import AIMET
from .amq import AMQ
from .exllamav2 import EXLLAMAV2
from .higgs import HIGGS
from .modelopt import MODELOPT
from .optiq import OPTIQ

if TYPE_CHECKING:
    from .contract import ToolReader

# A new reader is a file and a line here.
READERS: tuple[ToolReader, ...] = (AMQ, OPTIQ, EXLLAMAV2, MODELOPT, HIGGS, AIMET)


def reader_of(document: object) -> ToolReader | None:
    """The reader that knows a JSON document; None where none does."""
    return next((reader for reader in READERS if reader.recognises(document)), None)
