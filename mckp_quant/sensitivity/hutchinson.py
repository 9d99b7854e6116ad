r"""Average Hessian trace times squared perturbation (HAWQ-V2), with standard errors.

``loss(l, f) = (tr H_l / n_l) * ||dw(l, f)||^2 / 2``, with ``H_l`` the Hessian of the mean loss in the ``n_l`` weights
of layer ``l`` (Dong et al., 2020, *HAWQ-V2: Hessian Aware trace-Weighted Quantization of Neural Networks*; the factor
1/2, which makes it a second-order prediction for perturbations without preferred direction, is not in their formula).
The trace is the mean of ``r' H_l r`` over Rademacher vectors (Hutchinson, 1990, *A stochastic estimator of the trace
of the influence matrix for Laplacian smoothing splines*). One vector over all layers serves all traces at once: the
blocks between layers add variance but no bias.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..batches import forward
from ..errors import InvalidInput
from ._estimator import Estimate, LayerWeight, Task, rademacher
from ._statistics import Moments
from .likelihood import unit

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..batches import Batch


def estimate(task: Task, batches: Iterable[Batch]) -> Estimate:
    """Estimate every layer's trace from all batches and scale it with the formats' squared perturbations.

    Parameters
    ----------
    task
        What to measure.
    batches
        With targets.

    Returns
    -------
    estimate
        Negative where the trace came out negative. The standard error is that of the mean over batches, which covers
        inputs and probes; from a single batch it is that over probes alone, and unknown for a single probe.

    Raises
    ------
    InvalidInput
        When a batch has no targets, targets do not fit, the model fails on a batch or cannot be differentiated
        twice, or a trace is not finite.
    """
    generator = torch.Generator().manual_seed(task.seed)
    half_squares = torch.stack(
        [weight.perturbations.flatten(1).double().square().sum(dim=1).cpu() / 2 for weight in task.weights]
    )
    moments = Moments(len(task.weights), 1)
    draws: list[Tensor] = []
    sizes: list[int] = []
    units = "nats per sample"
    for parameter in task.model.parameters():
        parameter.requires_grad_(False)
    for weight in task.weights:
        for parameter in weight.parameters:
            parameter.requires_grad_(True)
    for batch in batches:
        # Fused attention has no second derivative.
        with sdpa_kernel(SDPBackend.MATH), torch.enable_grad():
            logits = forward(task.model, batch, task.output)
            units = unit(logits)
            try:
                traces = _average_traces(task, batch, logits, generator)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:
                raise InvalidInput(
                    f"the model cannot be differentiated twice ({error}): use method='gauss_newton'"
                ) from error
        if not bool(torch.isfinite(traces).all()):
            raise InvalidInput(f"a Hessian trace is not finite on batch {batch.index}: check the inputs")
        for row, mean in enumerate(traces.mean(dim=0)):
            moments.add(row, (batch.size * mean).reshape(1, 1), batch.size)
        draws.append(traces)
        sizes.append(batch.size)
    stderr = moments.stderr if len(draws) > 1 else _over_probes(draws[0])
    contributions = torch.stack([traces.mean(dim=0)[:, None] * half_squares for traces in draws])
    weights = torch.tensor(sizes, dtype=torch.float64)
    return Estimate(moments.mean * half_squares, stderr * half_squares, contributions, weights, units)


def hessian_vector_product(
    gradients: Sequence[Tensor], weights: Sequence[Tensor], vectors: Sequence[Tensor], *, keep_graph: bool = False
) -> tuple[Tensor, ...]:
    """Multiply the Hessian of a scalar with a vector, by differentiating its gradient once more.

    Parameters
    ----------
    gradients
        Of the scalar with respect to `weights`, made by ``torch.autograd.grad(..., create_graph=True)``.
    weights
        The variables.
    vectors
        One for each variable, of its shape.
    keep_graph
        Whether another product with the same gradients follows.

    Returns
    -------
    products
        One for each variable, of its shape; zero where the gradient does not depend on it.
    """
    linked = [(gradient, vector) for gradient, vector in zip(gradients, vectors, strict=True) if gradient.requires_grad]
    if not linked:
        return tuple(torch.zeros_like(weight) for weight in weights)
    outputs, along = zip(*linked, strict=True)
    return torch.autograd.grad(outputs, list(weights), along, retain_graph=keep_graph, materialize_grads=True)


def _average_traces(task: Task, batch: Batch, logits: Tensor, generator: torch.Generator) -> Tensor:
    """``(probes, n_layers)`` float64: draws of the trace of each layer's Hessian, divided by its weights."""
    if batch.targets is None:
        raise InvalidInput(
            f"batch {batch.index} has no targets, and method='hutchinson' needs them: give pairs (inputs, targets), or "
            "use method='gauss_newton', which needs none"
        )
    loss = task.likelihood.mean_loss(logits, batch.targets)
    parameters = [parameter for weight in task.weights for parameter in weight.parameters]
    gradients = torch.autograd.grad(loss, parameters, create_graph=True, materialize_grads=True)
    draws = []
    for probe in range(task.probes):
        signs = {weight: rademacher(weight.parameters[0], generator) for weight in task.weights}
        vectors = [signs[weight] for weight in task.weights for _ in weight.parameters]
        products = hessian_vector_product(gradients, parameters, vectors, keep_graph=probe < task.probes - 1)
        by_parameter = dict(zip(parameters, products, strict=True))
        draws.append([_trace(weight, signs[weight], by_parameter) / weight.layer.elements for weight in task.weights])
    return torch.tensor(draws, dtype=torch.float64)


def _trace(weight: LayerWeight, signs: Tensor, products: dict[torch.nn.Parameter, Tensor]) -> float:
    return sum(float((signs * products[parameter]).sum(dtype=torch.float64)) for parameter in weight.parameters)


def _over_probes(draws: Tensor) -> Tensor:
    if len(draws) < 2:
        return torch.full((draws.shape[1], 1), torch.nan, dtype=torch.float64)
    return draws.std(dim=0)[:, None] / math.sqrt(len(draws))
