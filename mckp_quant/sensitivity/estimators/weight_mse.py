r"""The squared error of the rounded weights, ``||dw||^2``: needs no data, and knows nothing of the network's function.

It orders formats within a layer well, and layers within a format badly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from ..estimator import Passes

if TYPE_CHECKING:
    from torch import Tensor

    from ..task import Task


@dataclass(frozen=True)
class WeightMSE:
    """Sum the squared perturbations over each layer's weight."""

    name: ClassVar[str] = "weight_mse"
    reference: ClassVar[str] = "the squared Euclidean distance"
    needs_targets: ClassVar[bool] = False
    reads_inputs: ClassVar[bool] = False
    passes: ClassVar[Passes] = Passes()
    unit: ClassVar[str] = "squared weight error"

    def losses(self, task: Task) -> Tensor:
        """``(n_layers, n_formats)`` float64."""
        return torch.stack([weight.errors.squares() for weight in task.weights])
