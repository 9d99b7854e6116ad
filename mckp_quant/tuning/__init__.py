"""The last pass for one policy: biases and norms matched to the float network, and fine-tuning.

Formats are given and do not change here. PyTorch is needed.
"""

from __future__ import annotations

from .matching import Calibration, calibrate
from .training import FineTuned, finetune

__all__ = [
    "Calibration",
    "FineTuned",
    "calibrate",
    "finetune",
]
