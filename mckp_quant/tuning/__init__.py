"""The last pass for one policy: matches biases and norms to the float network, and fine-tunes the weights.

The policy is given: no format changes here. PyTorch is needed.
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
