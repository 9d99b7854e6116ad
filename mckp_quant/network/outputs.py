"""What a network returns and what that means: where its numbers are, and which distribution they stand for."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from ..errors import InvalidInput, unknown
from .batches import as_batches
from .likelihood import LIKELIHOODS
from .probabilities import logits_only

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from torch import nn

    from .batch import Batch
    from .likelihood import Likelihood


@dataclass(frozen=True)
class Outputs:
    """What a network returns, and what its numbers mean.

    Attributes
    ----------
    take
        From what the model returns to its logits, ``(samples, classes)`` or ``(samples, tokens, classes)`` floating
        point. By default the model returns them, or has them as ``.logits``. Of a model that returns probabilities it
        takes the logarithm, ``lambda p: p.log()``; probabilities taken for logits would make every loss far too small,
        and are refused.
    likelihood
        ``"categorical"`` for class logits, ``"gaussian"`` for regression with unit variance. Every position of a
        sequence counts, except what the keyword ``attention_mask`` says is padding (with class logits).
    class_dim
        Where dense outputs such as ``(N, C, H, W)`` have their classes, 1 there: every position then counts as a token,
        and targets are ``(N, H, W)``. None where the classes come last already.

    Raises
    ------
    InvalidInput
        When the likelihood is unknown, `take` cannot be called, or `class_dim` is no whole number.
    """

    take: Callable[..., object] | None = None
    likelihood: str = "categorical"
    class_dim: int | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be used."""
        if self.take is not None and not callable(self.take):
            raise InvalidInput(f"take is {self.take!r}: give a function from what the model returns to its logits")
        if self.likelihood not in LIKELIHOODS:
            raise unknown("likelihood", self.likelihood, LIKELIHOODS)
        if self.class_dim is not None and (isinstance(self.class_dim, bool) or not isinstance(self.class_dim, int)):
            raise InvalidInput(f"class_dim is {self.class_dim!r}: give the dimension of the classes, such as 1")

    @property
    def logits(self) -> Callable[..., object] | None:
        """From what the model returns to ``(samples, ..., classes)`` logits; None where nothing has to be done.

        With class logits it refuses probabilities, wherever a network is run.
        """
        taken = self.take if self.class_dim is None else classes_last(self.take, self.class_dim)
        return logits_only(taken) if self.likelihood == "categorical" else taken

    @property
    def distribution(self) -> Likelihood:
        """The likelihood itself."""
        return LIKELIHOODS[self.likelihood]

    def batches(self, batches: Iterable[object], model: nn.Module) -> Iterator[Batch]:
        """Read batches one by one as `as_batches` does, with targets in the shape of these logits."""
        found = as_batches(batches, model)
        return found if self.class_dim is None else map(targets_flat, found)


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
