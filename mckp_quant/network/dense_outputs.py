"""Dense predictions, such as segmentation maps, as sequences: every position is a token."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from torch import Tensor

from ..errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable

    from .batch import Batch


def classes_last(output: Callable[..., object] | None, class_dim: int) -> Callable[..., object]:
    """Bring logits with their classes in dimension `class_dim` to ``(samples, positions, classes)``.

    Parameters
    ----------
    output
        From what the model returns to its logits, or None for the default.
    class_dim
        The dimension of the classes; negative ones count from the end.

    Returns
    -------
    output
        From what the model returns to the rearranged logits. It raises InvalidInput where they lack that dimension.
    """

    def rearranged(returned: object) -> object:
        logits = getattr(returned, "logits", returned) if output is None else output(returned)
        if not isinstance(logits, Tensor):
            return logits
        if not -logits.ndim < class_dim < logits.ndim or class_dim == 0 or logits.ndim < 3:
            raise InvalidInput(
                f"class_dim is {class_dim}, but the logits have the shape {tuple(logits.shape)}: it must name a "
                "dimension after the samples, beside which there are positions"
            )
        return logits.movedim(class_dim, -1).flatten(1, -2)

    return rearranged


def targets_flat(batch: Batch) -> Batch:
    """The batch with its targets as ``(samples, positions)``; what has one target a sample is given back as it is."""
    if batch.targets is None or batch.targets.ndim < 2:
        return batch
    return dataclasses.replace(batch, targets=batch.targets.flatten(1))
