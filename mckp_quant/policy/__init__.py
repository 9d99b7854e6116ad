"""A policy: one format for every layer, what it is predicted to lose and costs, and where it came from.

Plain data that is read and written as JSON. Choosing one is for the room of allocation; torch may not come in.
"""

from __future__ import annotations

from .policy import Policy
from .prediction import Prediction, predict

__all__ = [
    "Policy",
    "Prediction",
    "predict",
]
