"""Judges a policy on the real network: rounds it, runs it on batches, and sets the measured loss beside the predicted.

Nothing is searched or changed for the better here. PyTorch is needed.
"""

from __future__ import annotations

from .evaluator import Evaluator, evaluate
from .figures import Evaluation
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
