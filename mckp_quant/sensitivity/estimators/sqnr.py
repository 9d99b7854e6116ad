r"""The noise-to-signal ratio of the rounded weights, ``||dw||^2 / ||w||^2``: needs no data.

It is the inverse of the signal-to-quantisation-noise ratio, which is ``-10 log10`` of it in decibels (Jayant and Noll,
1984, *Digital Coding of Waveforms*). The ratio itself is kept because, unlike decibels, it is small where little is
lost and can be added up over layers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from ..estimator import Passes
from .weight_mse import WeightMSE

if TYPE_CHECKING:
    from torch import Tensor

    from ..task import Task


@dataclass(frozen=True)
class SQNR:
    """Divide each layer's squared perturbations by its squared weights."""

    name: ClassVar[str] = "sqnr"
    reference: ClassVar[str] = "Jayant and Noll (1984), Digital coding of waveforms"
    needs_targets: ClassVar[bool] = False
    reads_inputs: ClassVar[bool] = False
    passes: ClassVar[Passes] = Passes()
    unit: ClassVar[str] = "noise-to-signal ratio"

    def losses(self, task: Task) -> Tensor:
        """``(n_layers, n_formats)`` float64; 0 for a weight of zeros, which every format stores exactly."""
        signal = torch.stack([weight.parameters[0].detach().double().square().sum().cpu() for weight in task.weights])
        return WeightMSE().losses(task) / signal.where(signal > 0, 1)[:, None]
