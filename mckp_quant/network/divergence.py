"""A differentiable distance from the float network, which searches and fine-tuning minimise batch by batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import unknown
from .batches import evaluating, forward

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import nn

    from .batch import Batch


def float_logits(
    model: nn.Module, batches: Sequence[Batch], output: Callable[..., object] | None = None
) -> list[Tensor]:
    """The float network's logits on every batch, without gradients; the model is left as it was."""
    with evaluating(model), torch.no_grad():
        return [forward(model, batch, output).detach() for batch in batches]


def divergence(logits: Tensor, wanted: Tensor, batch: Batch, likelihood: str) -> Tensor:
    """Mean divergence from the float network; padding, which ``attention_mask`` tells, does not count.

    Parameters
    ----------
    logits
        ``(samples, classes)`` or ``(samples, tokens, classes)``, with gradient.
    wanted
        The same of the float network, without.
    batch
        The batch that they are of.
    likelihood
        ``"categorical"``: the Kullback-Leibler divergence from `wanted` to `logits`, in nats per sample or token;
        ``"gaussian"``: half the squared distance of a sample.

    Returns
    -------
    divergence
        A scalar, at least 0.

    Raises
    ------
    InvalidInput
        When the likelihood is unknown.
    """
    if likelihood == "gaussian":
        return (logits - wanted).flatten(1).square().sum(dim=1).mean() / 2
    if likelihood != "categorical":
        raise unknown("likelihood", likelihood, ("categorical", "gaussian"))
    own, target = logits.log_softmax(dim=-1), wanted.log_softmax(dim=-1)
    each = functional.kl_div(own, target, reduction="none", log_target=True).sum(dim=-1)
    counted = batch.counted(logits)
    return each.mean() if counted is None else each[counted].mean()
