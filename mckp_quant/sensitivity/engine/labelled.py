"""The gradient of every position's own loss in its logits, for estimators that use targets; and how many count."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from ...network.batch import Batch
    from ..task import Task


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


def counted_positions(task: Task, logits: Tensor, batch: Batch) -> Tensor:
    """``(N, positions)`` bool on the logits' device: which positions are no padding (class scores only)."""
    counted = batch.counted(logits) if task.likelihood.name == "categorical" else None
    if counted is None:
        counted = torch.ones(len(logits), task.likelihood.positions(logits), dtype=torch.bool, device=logits.device)
    return counted


def surprise_of(task: Task, logits: Tensor, counted: Tensor, batch: Batch) -> float:
    """The mean loss of a batch without its padding, see `Reading.surprise`."""
    logits = logits.detach()
    if batch.targets is None and not bool(counted.all()):
        logits = logits[counted]
    return task.likelihood.surprise(logits, batch.targets)


def per_unit_sizes(labelled: Tensor, positions: int, units: int) -> Tensor:
    """``(units,)`` float64: samples in each unit, where a sample counts by its share of positions with a target."""
    return labelled.reshape(units, -1).sum(dim=1) / positions
