r"""The Kullback-Leibler divergence that quantising one layer really causes, measured on the network.

The mean over samples of ``KL(p_float || p_quantised)``, with one weight in one format and all others in floating point.
No second-order assumption, no targets; a run of the network from the changed layer on for every entry of the table.
"""

from __future__ import annotations

import contextlib
import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from ...network.likelihood import unit
from ...network.scores import score
from ..engine.one_layer_at_a_time import measuring
from ..estimator import Passes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from ...network.batch import Batch
    from ...network.logits import Logits
    from ..task import Reader, Task


@dataclass(frozen=True)
class MeasuredKL:
    """Measure the divergence of every layer and format; for a gaussian likelihood half the squared distance."""

    name: ClassVar[str] = "measured_kl"
    reference: ClassVar[str] = "Kullback and Leibler (1951), On information and sufficiency"
    needs_targets: ClassVar[bool] = False
    reads_inputs: ClassVar[bool] = True
    passes: ClassVar[Passes] = Passes(batch=1, entry=0.35)
    unit: ClassVar[str] = "nats"

    @contextlib.contextmanager
    def reading(self, task: Task) -> Iterator[Reader]:
        """Read batches, whose targets are not used.

        Parameters
        ----------
        task
            What to measure.

        Yields
        ------
        read
            From a batch to the sums of its samples, over tokens for sequences. It raises InvalidInput when the model
            fails on the batch or its logits do not fit the likelihood.
        """

        def divergence(reference: Logits, logits: Logits, batch: Batch) -> tuple[Tensor, Tensor]:
            totals, counts = score(logits, reference, dataclasses.replace(batch, targets=None), task.likelihood)
            positions = task.likelihood.positions(reference)
            return torch.from_numpy(totals[0] / positions), torch.from_numpy(counts[0] / positions)

        with measuring(task, divergence, unit) as read:
            yield read
