"""Scores of a network's outputs against the float network's and against the targets, sample by sample."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from .errors import InvalidInput, unknown

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from .batches import Batch

Likelihood = Literal["categorical", "gaussian"]
QUANTITIES = ("kl", "loss", "accuracy", "agreement")
IGNORED = -100  # what torch's cross-entropy ignores too
