r"""The second-order change of the loss itself: ``dw' H dw / 2`` with the exact Hessian block of each layer.

Every entry takes a Hessian-vector product of its own (Pearlmutter, 1994, *Fast exact multiplication by the Hessian*),
so the cost grows with layers times formats; nothing but the inputs is random. Where the logits are piecewise linear in
a weight, as in ReLU networks with fixed batch norm, ``H`` equals the Gauss-Newton matrix whatever the targets, and
`GaussNewton` estimates the same at a fraction of the cost. Elsewhere ``H`` may be indefinite and an entry negative.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from ...network.likelihood import unit
from ..engine.second_order import gradient_graph, labelled_size, quadratic_form
from ..estimator import Passes
from ..task import Reading

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...network.batch import Batch
    from ..task import Reader, Task


@dataclass(frozen=True)
class HessianForm:
    """Compute ``dw' H dw / 2`` for every layer and format; the batch is the unit of the standard error."""

    name: ClassVar[str] = "hessian_form"
    reference: ClassVar[str] = "Pearlmutter (1994), Fast exact multiplication by the Hessian"
    needs_targets: ClassVar[bool] = True
    reads_inputs: ClassVar[bool] = False
    passes: ClassVar[Passes] = Passes(batch=2, entry=1.2)
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
            From a batch to one sum. It raises InvalidInput when the batch has no targets, they do not fit, or the model
            fails on the batch or cannot be differentiated twice.
        """

        def read(batch: Batch) -> Reading:
            with gradient_graph(task, batch, self.name) as (logits, gradients):
                halves = [
                    [quadratic_form(weight, gradients, vector, keep_graph=True) / 2 for vector in weight.perturbations]
                    for weight in task.weights
                ]
            size = labelled_size(task, logits, batch)
            return Reading(
                sums=tuple(torch.tensor([row], dtype=torch.float64) * size for row in halves),
                sizes=tuple(torch.tensor([size], dtype=torch.float64) for _ in halves),
                unit=unit(logits),
                surprise=task.likelihood.surprise(logits, batch.targets),
            )

        yield read
