r"""The empirical Fisher estimate: the squared first-order change of every sample's loss, with its true target.

``loss = mean_n (g_n . dw)^2 / 2`` with ``g_n`` the gradient of the loss of sample ``n`` (Chen et al., 2021, *Towards
Mixed-Precision Quantization of Neural Networks via Constrained Optimization*, there as ``(dw . df_y/dw / f_y)^2 / 2``
with the predicted probability ``f_y`` of the true class). It needs targets and costs one backward pass. Its mean is the
Gauss-Newton value only where the predictions are calibrated on the inputs: wrong answers weigh in with their full
gradient, which makes it too large on new inputs, and it vanishes on inputs that the network has memorised.
"""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from ...common.checks import check_count
from ...network.likelihood import unit
from ...network.logits import mapped
from ..engine.labelled import loss_gradient, per_unit_sizes
from ..engine.taps import Taps
from ..estimator import Passes
from ..task import Reading, targets_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...network.batch import Batch
    from ..task import Reader, Task


@dataclass(frozen=True)
class EmpiricalFisher:
    """Compute ``mean_n (g_n . dw)^2 / 2`` for every layer and format.

    For sequences ``n`` runs over tokens, each with the gradient of its own loss. One backward pass gives only their
    sum; with an independent random sign for every token the square of the signed sum has the sum of squares as its
    mean. The same holds for layers that are known only as sums over a batch. Where neither occurs nothing is random:
    several heads, of one position each, then take a backward pass each, because what they give is squared by itself.

    Attributes
    ----------
    probes
        Draws of all signs for each batch; one where nothing is random.

    Raises
    ------
    InvalidInput
        When `probes` is no whole number, or below 1.
    """

    probes: int = 1
    name: ClassVar[str] = "empirical_fisher"
    reference: ClassVar[str] = (
        "Chen, Wang and Cheng (2021), Towards mixed-precision quantization of neural networks via constrained "
        "optimization, ICCV, 5350-5359"
    )
    needs_targets: ClassVar[bool] = True
    reads_inputs: ClassVar[bool] = True
    passes: ClassVar[Passes] = Passes(batch=1.3)
    unit: ClassVar[str] = "nats"
    streams: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Refuse numbers of probes that estimate nothing."""
        check_count("probes", self.probes, 1)

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
            From a batch to sums that are never negative. It raises InvalidInput when the batch has no targets, they do
            not fit, or the model fails or cannot be differentiated.
        """
        taps = Taps(task)

        def read(batch: Batch) -> Reading:
            targets = targets_of(batch, self.name)
            logits = taps.forward(batch)
            positions = task.likelihood.positions(logits)
            gradient, labelled = loss_gradient(task, logits, targets)
            probes = self.probes if task.likelihood.mixes(logits) or taps.per_batch else 1
            totals = [torch.zeros(()) for _ in task.weights]
            for probe in range(probes):
                terms = task.likelihood.signed_terms(gradient, logits, targets, task.state.draws)
                scale = 1 / (2 * positions * probes)
                for at, vectors in enumerate(terms, start=1):
                    products = taps.backward(vectors, keep_graph=probe < probes - 1 or at < len(terms))
                    totals = [total + product.square() * scale for total, product in zip(totals, products, strict=True)]
            return Reading(
                sums=tuple(totals),
                sizes=tuple(per_unit_sizes(labelled, positions, len(total)) for total in totals),
                unit=unit(logits),
                stderr=torch.stack([total.sum(dim=0) for total in totals])
                * (math.sqrt(2 / probes) * positions / max(1.0, float(labelled.sum()))),
                surprise=task.likelihood.surprise(mapped(lambda own: own.detach(), logits), targets),
            )

        with taps.attached():
            yield read
