r"""The squared error of the rounded weights, ``||dw||^2``: needs no data, and knows nothing of the network's function.

It orders formats within a layer well, and layers within a format badly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from ..task import Task

UNIT = "squared weight error"


def weight_mse(task: Task) -> Tensor:
    """``(n_layers, n_formats)`` float64: the squared perturbations, summed over each layer's weight."""
    return torch.stack([weight.perturbations.flatten(1).double().square().sum(dim=1).cpu() for weight in task.weights])
