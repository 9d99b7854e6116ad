"""The last pass for one policy: biases and norms matched to the float network, and fine-tuning.

Formats are given and do not change here. PyTorch is needed.
"""

from __future__ import annotations

from .matching import Matched, match_features
from .training import FineTuned, finetune

__all__ = [
    "FineTuned",
    "Matched",
    "finetune",
    "match_features",
]
