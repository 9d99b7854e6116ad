"""The gradient of every position's own loss in its logits, for estimators that use targets; and how many count."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ...network.logits import heads_of, mapped

if TYPE_CHECKING:
    from torch import Tensor

    from ...network.batch import Batch
    from ...network.logits import Logits
    from ..task import Task


def loss_gradient(task: Task, logits: Logits, targets: Logits) -> tuple[Logits, Tensor]:
    """Differentiate the loss of each position in its own logits.

    Parameters
    ----------
    task
        Has the likelihood.
    logits
        ``(N, ...)``; of several heads a tuple.
    targets
        As the likelihood takes them.

    Returns
    -------
    gradient
        Of the shape of the logits, for class scores ``p - e_y``; zero where a target does not count. Of several heads
        each position's, times what it counts in the loss of its sample.
    labelled
        ``(N,)`` float64: how many positions of each sample count.
    """
    labelled = task.likelihood.labelled(logits, targets)
    with torch.enable_grad():
        z = mapped(lambda own: own.detach().to(torch.promote_types(own.dtype, torch.float32)).requires_grad_(), logits)
        mean = task.likelihood.mean_loss(z, targets)
        found = torch.autograd.grad(mean, heads_of(z))
    gradient = found[0] if isinstance(logits, torch.Tensor) else found
    if not labelled.any():
        return mapped(torch.zeros_like, logits), labelled
    return mapped(lambda own, z: (own * float(labelled.sum())).to(z.dtype), gradient, logits), labelled


def surprise_of(task: Task, logits: Logits, counted: Tensor, batch: Batch) -> float:
    """The mean loss of a batch without its padding, see `Reading.surprise`."""
    logits = mapped(lambda own: own.detach(), logits)
    if batch.targets is None and isinstance(logits, torch.Tensor) and not bool(counted.all()):
        logits = logits[counted]
    return task.likelihood.surprise(logits, batch.targets)


def per_unit_sizes(labelled: Tensor, positions: int, units: int) -> Tensor:
    """``(units,)`` float64: samples in each unit, where a sample counts by its share of positions with a target."""
    return labelled.reshape(units, -1).sum(dim=1) / positions
