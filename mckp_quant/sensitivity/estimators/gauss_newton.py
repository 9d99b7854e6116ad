r"""The Gauss-Newton estimate of the loss increase: label-free, one backward pass for all layers and formats.

Replacing a weight ``w`` by ``w + dw`` moves the logits of sample ``n`` by ``J_n dw`` and its loss, in expectation over
targets drawn from the network's own predictions, by ``dw' J_n' S_n J_n dw / 2``, where ``S_n`` is the Hessian of the
loss in the logits: to second order the Kullback-Leibler divergence from the float network. With a random ``v_n`` of
covariance ``S_n`` this is the mean of ``a_n^2 / 2``, ``a_n = v_n' J_n dw`` (Hutchinson, 1990, *A stochastic estimator
of the trace of the influence matrix for Laplacian smoothing splines*, here in the space of logits). One backward pass
from ``v_n`` gives ``a_n`` for every layer and format. The probes of samples and tokens are independent, so products
between them vanish in expectation.
"""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from ...common.checks import check_count
from ...errors import InvalidInput
from ...network.likelihood import unit
from ..engine.labelled import per_unit_sizes, surprise_of
from ..engine.taps import Taps
from ..estimator import Passes
from ..task import Reading

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from ...network.batch import Batch
    from ...network.logits import Logits
    from ..task import Reader, Task


@dataclass(frozen=True)
class GaussNewton:
    """Estimate ``mean_n a_n^2 / (2 T)`` for every layer and format, ``T`` the tokens of a sequence or 1.

    The unit is a sample (a sequence), probes averaged first, so that the standard error covers the sampling of inputs
    and of probes. Where only the sum over a batch is known (see `Taps`), its square estimates the sum of squares,
    because products between samples vanish in expectation, and the batch is the unit. A single unit has the standard
    error ``sqrt(2 / probes)`` times the estimate, as for squares of normal variables.

    Attributes
    ----------
    probes
        Random vectors for each batch. More batches are nearly always worth more than more probes.
    matched
        Whether each output channel of the layer has the float network's mean restored, as a bias or the norm behind it
        restores it when `finish` is done: where a layer has few inputs to an output, as in depthwise convolutions,
        most of what rounding does is to move means. Spreads are not restored. The means are those of the batch: they
        fit it too well, by up to one part in its samples, so batches should be large. Embeddings, and layers that are
        only known as sums over a batch, keep their means.

    Raises
    ------
    InvalidInput
        When `probes` is no whole number, or below 1.
    """

    probes: int = 1
    matched: bool = False
    name: ClassVar[str] = "gauss_newton"
    reference: ClassVar[str] = (
        "Hutchinson (1990), A stochastic estimator of the trace of the influence matrix for Laplacian smoothing "
        "splines (in the space of logits)"
    )
    needs_targets: ClassVar[bool] = False
    reads_inputs: ClassVar[bool] = True
    passes: ClassVar[Passes] = Passes(batch=1.3)
    unit: ClassVar[str] = "nats"
    streams: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Refuse numbers of probes that estimate nothing."""
        check_count("probes", self.probes, 1)

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
            From a batch to sums that are never negative, but not forced to fall with the number of bits. It raises
            InvalidInput when the model fails on the batch or its logits cannot be differentiated or do not fit the
            likelihood.
        """
        if self.matched and task.menu is not None and task.menu.schemes:
            raise InvalidInput(
                "GaussNewton(matched=True) knows formats of weights only, and a format also stores activations: leave "
                "it out, or use formats of weights"
            )
        taps = Taps(task, matched=self.matched)

        def read(batch: Batch) -> Reading:
            if self.matched and batch.size == 1:
                raise InvalidInput(
                    f"batch {batch.index} has one sample, and GaussNewton(matched=True) takes means over a batch: give "
                    "larger batches"
                )
            logits = taps.forward(batch)
            counted = task.likelihood.counted(logits, batch)
            positions = task.likelihood.positions(logits)
            halves = self._half_squares(task, taps, logits, batch)
            counts = counted.sum(dim=1).double().cpu()
            return Reading(
                sums=tuple(halves),
                sizes=tuple(per_unit_sizes(counts, positions, len(half)) for half in halves),
                unit=unit(logits),
                stderr=torch.stack([half.sum(dim=0) for half in halves])
                * (math.sqrt(2 / self.probes) * positions / max(1.0, float(counts.sum()))),
                surprise=surprise_of(task, logits, counted, batch),
            )

        with taps.attached():
            yield read

    def _half_squares(self, task: Task, taps: Taps, logits: Logits, batch: Batch) -> list[Tensor]:
        """``a^2 / (2 T)`` averaged over probes, for each layer ``(n_units, n_formats)`` float64."""
        scale = 1 / (2 * task.likelihood.positions(logits) * self.probes)
        totals: list[Tensor] = []
        for probe in range(self.probes):
            vectors = task.likelihood.curvature_probe(logits, task.state.draws, batch)
            products = taps.backward(vectors, keep_graph=probe < self.probes - 1)
            squares = [product.square() * scale for product in products]
            totals = [total + square for total, square in zip(totals, squares, strict=True)] if totals else squares
        return totals
