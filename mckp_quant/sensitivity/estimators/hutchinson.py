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
from typing import TYPE_CHECKING

import torch

from ...network.likelihood import rademacher
from ..engine.second_order import hessian_vector_product, quadratic_form
from ..engine.traces import trace_reader

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn

    from ..task import Reader, Task


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
        See `trace_reader`.
    """
    yield trace_reader(task, "hutchinson", _joint)


@contextlib.contextmanager
def hutchinson_blockwise(task: Task) -> Iterator[Reader]:
    """Estimate the traces as `hutchinson` does, but with a vector and a Hessian-vector product for each layer."""
    yield trace_reader(task, "hutchinson_blockwise", _blockwise)


def _joint(task: Task, gradients: dict[nn.Parameter, Tensor]) -> Tensor:
    traces = torch.zeros(task.probes, len(task.weights), dtype=torch.float64)
    for probe in range(task.probes):
        signs = {weight: rademacher(weight.parameters[0], task.memory.generator) for weight in task.weights}
        vectors = {parameter: signs[weight] for weight in task.weights for parameter in weight.parameters}
        linked = [gradients[parameter] for parameter in vectors]
        again = probe < task.probes - 1
        products = hessian_vector_product(linked, list(vectors), list(vectors.values()), keep_graph=again)
        by_parameter = dict(zip(vectors, products, strict=True))
        for row, weight in enumerate(task.weights):
            for parameter in weight.parameters:
                traces[probe, row] += float((signs[weight] * by_parameter[parameter]).sum(dtype=torch.float64))
    return traces


def _blockwise(task: Task, gradients: dict[nn.Parameter, Tensor]) -> Tensor:
    traces = torch.zeros(task.probes, len(task.weights), dtype=torch.float64)
    last = traces.numel() - 1
    for probe in range(task.probes):
        for row, weight in enumerate(task.weights):
            signs = rademacher(weight.parameters[0], task.memory.generator)
            again = probe * len(task.weights) + row < last
            traces[probe, row] = quadratic_form(weight, gradients, signs, keep_graph=again)
    return traces
