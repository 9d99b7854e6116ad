"""Weights and inputs as formats store them: the arithmetic of rounding, and ranges found on calibration data.

Here numbers change; how much a network suffers from it is measured elsewhere. PyTorch is needed.
"""

from __future__ import annotations

from .bank import WeightBank
from .banking import round_weights
from .calibration import calibrate_ranges
from .chosen_weights import Weights
from .encoded import EncodedWeight, decode_weight
from .ggml.imatrix import ImportanceMatrix
from .rounders import ROUNDERS, Gptq, Importance, Learned, Nearest
from .weights import encode_weight, quantize

__all__ = [
    "ROUNDERS",
    "EncodedWeight",
    "Gptq",
    "Importance",
    "ImportanceMatrix",
    "Learned",
    "Nearest",
    "WeightBank",
    "Weights",
    "calibrate_ranges",
    "decode_weight",
    "encode_weight",
    "quantize",
    "round_weights",
]
