"""Weights and inputs as formats store them: the arithmetic of rounding, and ranges found on calibration data.

Here numbers change; how much a network suffers from it is measured elsewhere. PyTorch is needed.
"""

from __future__ import annotations

from .calibration import calibrate_ranges
from .encoded import EncodedWeight, decode_weight
from .weights import encode_weight, quantize

__all__ = [
    "EncodedWeight",
    "calibrate_ranges",
    "decode_weight",
    "encode_weight",
    "quantize",
]
