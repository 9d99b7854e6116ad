"""Policies as configurations of other tools, which hold no weights: written and read, one tool a file and a line here.

Nothing here needs torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .aimet import AIMET
from .auto_round import AUTO_ROUND
from .bitsandbytes import BITSANDBYTES
from .coreml import COREML
from .gptqmodel import GPTQMODEL
from .llm_compressor import LLM_COMPRESSOR
from .mlx import MLX
from .modelopt import MODELOPT, TENSORRT_LLM
from .nncf import NNCF
from .tensor_types import TENSOR_TYPES

if TYPE_CHECKING:
    from .contract import Configuration

# A new configuration is a file and a line here; the first that recognises a document reads it.
CONFIGURATIONS: tuple[Configuration, ...] = (
    *(LLM_COMPRESSOR, GPTQMODEL, AUTO_ROUND, MODELOPT, TENSORRT_LLM, NNCF, AIMET, MLX, COREML),
    *(BITSANDBYTES, TENSOR_TYPES),
)


def configuration_of(document: object) -> Configuration | None:
    """What can read a document, or the lines of a text file; None where nothing can."""
    return next((each for each in CONFIGURATIONS if each.recognises(document)), None)
