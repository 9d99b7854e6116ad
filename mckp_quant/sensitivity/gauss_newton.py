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

import math
from typing import TYPE_CHECKING

import torch

from ..errors import InvalidInput
from ._estimator import Estimate, Task
from ._statistics import Moments
from ._taps import Taps
from .likelihood import unit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

    from ..batches import Batch


def estimate(task: Task, batches: Iterable[Batch]) -> Estimate:
    """Estimate ``mean_n a_n^2 / (2 T)`` for every layer and format, ``T`` the tokens of a sequence or 1.

    The standard error is that of the mean over samples (sequences) of ``a_n^2``, probes averaged first: it covers the
    sampling of inputs and of probes. Where only the sum over a batch is known (see `Taps`), its square estimates the
    sum of squares, because products between samples vanish in expectation, and the batch is the unit. A single unit
    gives ``sqrt(2 / probes)`` times the estimate, as for squares of normal variables.

    Parameters
    ----------
    task
        What to measure.
    batches
        Targets are not used.

    Returns
    -------
    estimate
        Never negative, but not forced to fall with the number of bits.

    Raises
    ------
    InvalidInput
        When the model fails on a batch, its logits cannot be differentiated or do not fit the likelihood, or a product
        is not finite.
    """
    generator = torch.Generator().manual_seed(task.seed)
    moments = Moments(*task.shape)
    contributions: list[Tensor] = []
    sizes: list[int] = []
    units = "nats per sample"
    taps = Taps(task.weights)
    with taps.attached():
        for batch in batches:
            logits = taps.forward(task, batch)
            units = unit(logits)
            halves = _half_squares(task, taps, logits, generator)
            for row, half in enumerate(halves):
                if not bool(torch.isfinite(half).all()):
                    raise InvalidInput(
                        f"the gradient of layer {task.weights[row].layer.name!r} is not finite on batch {batch.index}"
                    )
                moments.add(row, half, batch.size // len(half))
            contributions.append(torch.stack([half.sum(dim=0) / batch.size for half in halves]))
            sizes.append(batch.size)
    loss = moments.mean
    stderr = torch.where(moments.stderr.isnan(), loss * math.sqrt(2 / task.probes), moments.stderr)
    return Estimate(loss, stderr, torch.stack(contributions), torch.tensor(sizes, dtype=torch.float64), units)


def _half_squares(task: Task, taps: Taps, logits: Tensor, generator: torch.Generator) -> list[Tensor]:
    """``a^2 / (2 T)`` averaged over probes, for each layer ``(n_units, n_formats)`` float64."""
    scale = 1 / (2 * task.likelihood.positions(logits) * task.probes)
    totals: list[Tensor] = []
    for probe in range(task.probes):
        vectors = task.likelihood.curvature_probe(logits, generator)
        products = taps.backward(logits, vectors, keep_graph=probe < task.probes - 1)
        squares = [product.square() * scale for product in products]
        totals = [total + square for total, square in zip(totals, squares, strict=True)] if totals else squares
    return totals
