"""Which position of a model's logits has which target: labels, their shift in language models, and padding."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .batch import LABELS, MASK
from .logits import of_targets

if TYPE_CHECKING:
    from torch import nn

    from .batch import Batch

IGNORED_TARGET = -100  # PyTorch's own mark for positions that the loss leaves out


def with_targets(batch: Batch, model: nn.Module) -> Batch:
    """Take Hugging Face's keyword ``labels`` out of the inputs, as targets of the logits at the same positions.

    A causal language model is trained to predict the label of the next position, so its labels are shifted by one and
    the last position has no target; any other model's are not. The model would compute a loss from them, which is not
    used. Targets given as ``(dict, targets)`` are those of the logits at the same positions already. Targets of
    padding, which ``attention_mask`` tells, are marked as ignored.

    Parameters
    ----------
    batch
        The batch.
    model
        The model that it is for.

    Returns
    -------
    batch
        With targets; as it was where it has none, or has no labels.
    """
    if isinstance(batch.inputs, Tensor) or not {LABELS, MASK} & set(batch.inputs):
        return batch
    inputs = {name: value for name, value in batch.inputs.items() if name != LABELS}
    mask, labels, targets = inputs.get(MASK), batch.inputs.get(LABELS), batch.targets
    if targets is None and labels is not None and labels.shape[:1] == (batch.size,):
        targets = _unpadded(labels, mask)
        if _is_causal(model) and labels.ndim == 2:
            targets = torch.cat([targets[:, 1:], torch.full_like(targets[:, :1], IGNORED_TARGET)], dim=1)
    targets = of_targets(lambda own: _unpadded(own, mask), targets)
    return replace(batch, inputs=inputs or batch.inputs, targets=targets)


def _unpadded(targets: Tensor, mask: Tensor | None) -> Tensor:
    """Class numbers with those of padding marked as ignored."""
    if mask is None or mask.shape != targets.shape or targets.is_floating_point():
        return targets
    return targets.masked_fill(mask.to(targets.device) == 0, IGNORED_TARGET)


def _is_causal(model: nn.Module) -> bool:
    name = getattr(model, "loss_type", None)
    return "CausalLM" in (name if isinstance(name, str) else type(model).__name__)
