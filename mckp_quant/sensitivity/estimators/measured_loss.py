r"""The change of the loss that quantising one layer really causes, measured on the network with the true targets.

Differences of losses on the same samples, with one weight in one format and all others in floating point. The change is
the divergence of `MeasuredKL` plus a first-order term that is noise of the targets where the network is calibrated: at
four bits and more the noise is larger than the rest, and a change may be negative.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from ...network.likelihood import unit
from ...network.scores import score
from ..engine.one_layer_at_a_time import measuring
from ..estimator import Passes
from ..task import targets_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from ...network.batch import Batch
    from ...network.logits import Logits
    from ..task import Reader, Task


@dataclass(frozen=True)
class MeasuredLoss:
    """Measure the change of the loss for every layer and format."""

    name: ClassVar[str] = "measured_loss"
    reference: ClassVar[str] = "measured: the difference of two losses on the same samples"
    needs_targets: ClassVar[bool] = True
    reads_inputs: ClassVar[bool] = True
    passes: ClassVar[Passes] = Passes(batch=1, entry=0.35)
    unit: ClassVar[str] = "nats"

    @contextlib.contextmanager
    def reading(self, task: Task) -> Iterator[Reader]:
        """Read batches with targets.

        Parameters
        ----------
        task
            What to measure.

        Yields
        ------
        read
            From a batch to the sums of its samples, over tokens for sequences. It raises InvalidInput when the batch
            has no targets, they do not fit, or the model fails on it.
        """

        def change(reference: Logits, logits: Logits, batch: Batch) -> tuple[Tensor, Tensor]:
            targets_of(batch, self.name)
            before = score(reference, reference, batch, task.likelihood)
            after = score(logits, reference, batch, task.likelihood)
            positions = task.likelihood.positions(reference)
            return torch.from_numpy((after[0, 1] - before[0, 1]) / positions), torch.from_numpy(after[1, 1] / positions)

        with measuring(task, change, unit) as read:
            yield read
