"""The gradient of every position's own loss in its logits: what estimators that use targets send back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from ._estimator import Task


def loss_gradient(task: Task, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Differentiate the loss of each position in its own logits.

    Parameters
    ----------
    task
        Has the likelihood.
    logits
        ``(N, ...)``.
    targets
        As the likelihood takes them.

    Returns
    -------
    gradient
        Of the shape of the logits, for class scores ``p - e_y``; zero where a target does not count.
    labelled
        ``(N,)`` float64: how many positions of each sample count.
    """
    labelled = task.likelihood.labelled(logits, targets)
    with torch.enable_grad():
        z = logits.detach().to(torch.promote_types(logits.dtype, torch.float32)).requires_grad_()
        mean = task.likelihood.mean_loss(z, targets)
        (gradient,) = torch.autograd.grad(mean, z)
    if not labelled.any():
        return torch.zeros_like(logits), labelled
    return (gradient * float(labelled.sum())).to(logits.dtype), labelled


def per_unit_sizes(labelled: Tensor, positions: int, units: int) -> Tensor:
    """``(units,)`` float64: samples in each unit, where a sample counts by its share of positions with a target."""
    return labelled.reshape(units, -1).sum(dim=1) / positions
