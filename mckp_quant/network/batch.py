"""One batch: the inputs of one call of the model, with its targets and its padding."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from torch import Tensor

from .logits import of_targets

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .logits import Logits


MASK, LABELS = "attention_mask", "labels"  # keywords of Hugging Face models
# Keywords of Hugging Face models that hold a row for every sample. What other keywords hold is not known.
_PER_SAMPLE = {MASK, LABELS, "input_ids", "inputs_embeds", "token_type_ids", "pixel_values", "input_features"}


@dataclass(frozen=True, eq=False)
class Batch:
    """Inputs for one call of the model.

    Attributes
    ----------
    inputs
        A tensor, ``(size, ...)``, or tensors by the keyword under which the model takes them.
    targets
        ``(size, ...)``, a tuple of such tensors or None for outputs of several heads, or None where the caller gave
        none.
    size
        How many samples it holds: the first dimension of the inputs.
    index
        Its position among the batches, for messages.
    weight
        How much each of its samples counts beside those of other batches, in means over samples.
    """

    inputs: Tensor | Mapping[str, Tensor]
    targets: Logits | None
    size: int
    index: int = 0
    weight: float = 1.0

    def head(self, count: int) -> Batch:
        """Only the first `count` samples, or all where a keyword may or may not have a row for every sample."""
        return self if count >= self.size else self._rows(slice(count)) or self

    def cut(self) -> tuple[Batch, Batch] | None:
        """The samples at even and at odd places, or None where it has one sample or cannot be taken apart."""
        even, odd = (None, None) if self.size < 2 else (self._rows(slice(0, None, 2)), self._rows(slice(1, None, 2)))
        return None if even is None or odd is None else (even, odd)

    def _rows(self, rows: slice) -> Batch | None:
        if isinstance(self.inputs, Tensor):
            inputs: Tensor | Mapping[str, Tensor] = self.inputs[rows]
        else:
            first = next(iter(self.inputs))
            sampled = {name for name, value in self.inputs.items() if leading_size(value) == self.size}
            if not sampled <= {first, *_PER_SAMPLE}:
                return None
            inputs = {name: value[rows] if name in sampled else value for name, value in self.inputs.items()}
        targets = of_targets(lambda own: own[rows], self.targets)
        return replace(self, inputs=inputs, targets=targets, size=len(range(self.size)[rows]))

    def counted(self, logits: Tensor) -> Tensor | None:
        """Which positions are no padding, by the keyword ``attention_mask``.

        Parameters
        ----------
        logits
            What the model gave for this batch.

        Returns
        -------
        counted
            ``(size, tokens)`` bool on the logits' device; None where all positions count, because there is no mask or
            it is not one of the logits' tokens.
        """
        mask = None if isinstance(self.inputs, Tensor) else self.inputs.get(MASK)
        if mask is None or logits.ndim != 3 or mask.shape != logits.shape[:2]:
            return None
        return mask.to(logits.device) != 0

    @property
    def shape(self) -> str:
        """The shapes of the inputs, as a message shows them."""
        if isinstance(self.inputs, Tensor):
            return str(tuple(self.inputs.shape))
        return ", ".join(f"{name} {tuple(value.shape)}" for name, value in self.inputs.items())


def leading_size(tensor: Tensor) -> int:
    """How many rows a tensor has: 0 for a scalar."""
    return tensor.shape[0] if tensor.ndim else 0
