r"""Average Hessian trace times squared perturbation (HAWQ-V2), with standard errors.

``loss(l, f) = (tr H_l / n_l) * ||dw(l, f)||^2 / 2``, with ``H_l`` the Hessian of the mean loss in the ``n_l`` weights
of layer ``l`` (Dong et al., 2020, *HAWQ-V2: Hessian Aware trace-Weighted Quantization of Neural Networks*; the factor
1/2, which makes it a second-order prediction for perturbations without preferred direction, is not in their formula).
The trace is the mean of ``r' H_l r`` over Rademacher vectors (Hutchinson, 1990, *A stochastic estimator
of the trace of the influence matrix for Laplacian smoothing splines*).

There are two ways to draw them. One vector over all layers serves all traces with one Hessian-vector product: the
blocks between layers add variance but no bias. A vector for each layer takes a product for each, without that variance.
"""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING

import torch

from ._estimator import Reading, rademacher
from ._second_order import gradient_graph, hessian_vector_product, labelled_size, quadratic_form
from .likelihood import unit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor, nn

    from ..batches import Batch
    from ._estimator import Reader, Task

    Draw = Callable[[Task, dict[nn.Parameter, Tensor], bool], list[float]]


@contextlib.contextmanager
def hutchinson(task: Task) -> Iterator[Reader]:
    """Estimate the traces with one vector over all layers for each probe, and scale them to all formats.

    Parameters
    ----------
    task
        What to measure.

    Yields
    ------
    read
        From a batch with targets to one sum, negative where a trace came out negative. The batch is the unit of the
        standard error, which covers inputs and probes; from a single batch it is that over probes alone, and unknown
        for a single probe. It raises InvalidInput when the batch has no targets, they do not fit, or the model fails on
        the batch or cannot be differentiated twice.
    """
    yield _reader(task, "hutchinson", _joint)


@contextlib.contextmanager
def hutchinson_blockwise(task: Task) -> Iterator[Reader]:
    """Estimate the traces as `hutchinson` does, but with a vector and a Hessian-vector product for each layer."""
    yield _reader(task, "hutchinson_blockwise", _blockwise)


def _reader(task: Task, method: str, draw: Draw) -> Reader:
    half_squares = torch.stack(
        [weight.perturbations.flatten(1).double().square().sum(dim=1).cpu() / 2 for weight in task.weights]
    )
    elements = torch.tensor([weight.layer.elements for weight in task.weights], dtype=torch.float64)

    def read(batch: Batch) -> Reading:
        with gradient_graph(task, batch, method) as (logits, gradients):
            draws = [draw(task, gradients, probe < task.probes - 1) for probe in range(task.probes)]
        traces = torch.tensor(draws, dtype=torch.float64) / elements
        size = labelled_size(task, logits, batch)
        return Reading(
            sums=tuple((size * traces.mean(dim=0)[:, None] * half_squares)[:, None]),
            sizes=tuple(torch.tensor([size], dtype=torch.float64) for _ in task.weights),
            unit=unit(logits),
            alone=_over_probes(traces) * half_squares,
            surprise=task.likelihood.surprise(logits, batch.targets),
        )

    return read


def _joint(task: Task, gradients: dict[nn.Parameter, Tensor], keep_graph: bool) -> list[float]:
    signs = {weight: rademacher(weight.parameters[0], task.memory.generator) for weight in task.weights}
    vectors = {parameter: signs[weight] for weight in task.weights for parameter in weight.parameters}
    products = hessian_vector_product(
        [gradients[parameter] for parameter in vectors], list(vectors), list(vectors.values()), keep_graph=keep_graph
    )
    by_parameter = dict(zip(vectors, products, strict=True))
    return [
        sum(float((signs[weight] * by_parameter[each]).sum(dtype=torch.float64)) for each in weight.parameters)
        for weight in task.weights
    ]


def _blockwise(task: Task, gradients: dict[nn.Parameter, Tensor], keep_graph: bool) -> list[float]:
    traces = []
    for weight in task.weights:
        signs = rademacher(weight.parameters[0], task.memory.generator)
        traces.append(quadratic_form(weight, gradients, signs, keep_graph=keep_graph or weight is not task.weights[-1]))
    return traces


def _over_probes(draws: Tensor) -> Tensor:
    if len(draws) < 2:
        return torch.full((draws.shape[1], 1), torch.nan, dtype=torch.float64)
    return draws.std(dim=0)[:, None] / math.sqrt(len(draws))
