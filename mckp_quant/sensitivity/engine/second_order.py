"""Products of the loss's Hessian with vectors, by differentiating twice."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from ...errors import InvalidInput
from ...network.batches import forward
from ...network.logits import mapped
from ..task import targets_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ...network.batch import Batch
    from ...network.logits import Logits
    from ..task import LayerWeight, Task


@contextlib.contextmanager
def gradient_graph(task: Task, batch: Batch, method: str) -> Iterator[tuple[Logits, dict[nn.Parameter, Tensor]]]:
    """Differentiate the mean loss of a batch in the layers' weights, so that the result can be differentiated again.

    Parameters
    ----------
    task
        What to measure.
    batch
        With targets.
    method
        The estimator, for messages.

    Yields
    ------
    logits, gradients
        The logits, detached, and the gradient of each parameter.

    Raises
    ------
    InvalidInput
        When there are no targets, they do not fit, or the model fails on the batch or cannot be differentiated twice.
    """
    targets = targets_of(batch, method)
    for parameter in task.model.parameters():
        parameter.requires_grad_(False)
    parameters = [parameter for weight in task.weights for parameter in weight.parameters]
    for parameter in parameters:
        parameter.requires_grad_(True)
    # Fused attention has no second derivative.
    with sdpa_kernel(SDPBackend.MATH), torch.enable_grad():
        logits = forward(task.model, batch, task.output)
        try:
            loss = task.likelihood.mean_loss(logits, targets)
            gradients = torch.autograd.grad(loss, parameters, create_graph=True, materialize_grads=True)
            yield mapped(lambda own: own.detach(), logits), dict(zip(parameters, gradients, strict=True))
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise InvalidInput(
                f"the model cannot be differentiated twice ({error}): use method='gauss_newton'"
            ) from error


def labelled_size(task: Task, logits: Logits, batch: Batch) -> float:
    """How many samples the mean loss of a batch is over; one counts by its share of positions with a target."""
    if batch.targets is None:
        return float(batch.size)
    return float(task.likelihood.labelled(logits, batch.targets).sum()) / task.likelihood.positions(logits)


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


def block_product(
    weight: LayerWeight, gradients: dict[nn.Parameter, Tensor], vector: Tensor, *, keep_graph: bool
) -> Tensor:
    """``H vector`` for one layer, ``H`` the Hessian in its weight, which all its parameters hold together."""
    parameters = weight.parameters
    vectors = [vector.to(parameter.dtype) for parameter in parameters]
    products = hessian_vector_product(
        [gradients[parameter] for parameter in parameters], parameters, vectors, keep_graph=keep_graph
    )
    return torch.stack(products).sum(dim=0)


def quadratic_form(
    weight: LayerWeight, gradients: dict[nn.Parameter, Tensor], vector: Tensor, *, keep_graph: bool
) -> float:
    """``vector' H vector`` for one layer."""
    product = block_product(weight, gradients, vector, keep_graph=keep_graph)
    return float((vector.to(product.dtype) * product).sum(dtype=torch.float64))
