"""The last pass for one policy: its codes in the order of the layers, biases and norms matched, fine-tuning.

The policy is given: no format changes here. PyTorch is needed.
"""

from __future__ import annotations

from .decided import Decided
from .finished import Finished
from .finishing import finish
from .judging import validate_finished
from .matching import Matched, match_features
from .training import FineTuned, finetune

__all__ = [
    "Decided",
    "FineTuned",
    "Finished",
    "Matched",
    "finetune",
    "finish",
    "match_features",
    "validate_finished",
]
