"""What a policy does to the real network: simulated, run on batches, compared with what was predicted.

Nothing is searched here: it judges. PyTorch is needed.
"""

from __future__ import annotations

from .evaluator import Evaluation, Evaluator, evaluate
from .simulation import apply
from .validation import Validation, validate

__all__ = [
    "Evaluation",
    "Evaluator",
    "Validation",
    "apply",
    "evaluate",
    "validate",
]
