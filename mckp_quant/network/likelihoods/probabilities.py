"""Notices probabilities that are taken for logits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable

_ROUNDINGS = 4  # how far off 1 the sum of a row may be, in steps of the outputs' precision
_LEAST_TOLERANCE = 1e-5  # sums over many classes are less exact than one step of float32
_MANY = 16  # entries, below which all of them may lie between 0 and 1 by chance


def are_probabilities(logits: Tensor) -> bool:
    """Whether every row along the last dimension has no negative entry and sums to 1.

    Logits of several classes do so only by design. Log-probabilities are negative; a single class, of which a softmax
    always makes 1, says nothing.

    Parameters
    ----------
    logits
        ``(..., classes)`` floating point.

    Returns
    -------
    found
        False where there is no row, fewer than two classes, or no values at all (the meta device, in a plan).
    """
    if logits.is_meta or not logits.is_floating_point():
        return False
    if logits.ndim < 2 or not logits.numel() or logits.shape[-1] < 2:
        return False
    rows = logits.detach()
    tolerance = max(_ROUNDINGS * torch.finfo(rows.dtype).eps, _LEAST_TOLERANCE)
    for part in (rows[:1], rows):  # the first sample settles it nearly always
        apart = part.sum(dim=-1, dtype=torch.float64) - 1
        if not bool((part >= 0).all()) or not bool((apart.abs() <= tolerance).all()):
            return False
    return True


def are_likely_probabilities(logits: Tensor) -> bool:
    """Whether all of many entries lie between 0 and 1, none at either end, as a sigmoid's do and logits hardly can."""
    if logits.is_meta or not logits.is_floating_point() or logits.numel() < _MANY:
        return False
    return bool(((logits > 0) & (logits < 1)).all())


def logits_only(take: Callable[..., object] | None, likelihood: str = "categorical") -> Callable[..., object]:
    """Refuse probabilities among what is taken from a model's outputs.

    Parameters
    ----------
    take
        From what the model returns to its logits, or None for the default.
    likelihood
        ``"categorical"`` or ``"bernoulli"``: what is meant by a probability.

    Returns
    -------
    take
        The same; it raises InvalidInput where what it takes are probabilities.
    """

    def checked(returned: object) -> object:
        logits = getattr(returned, "logits", returned) if take is None else take(returned)
        if not isinstance(logits, Tensor):
            return logits
        if likelihood == "categorical" and are_probabilities(logits):
            raise InvalidInput(
                "the outputs are probabilities, not logits: no entry is negative, and every row sums to 1. Their "
                "losses would come out far too small. Take the logarithm, outputs=Outputs(take=lambda p: p.log()), or "
                "give the network without its softmax; outputs that are no classes are likelihood='gaussian'"
            )
        if likelihood == "bernoulli" and are_likely_probabilities(logits):
            raise InvalidInput(
                "the outputs are probabilities, not logits: every entry is between 0 and 1. Their losses would come "
                "out far too small. Take Outputs(take=lambda p: p.logit(), likelihood='bernoulli'), or give the "
                "network without its sigmoid"
            )
        return logits

    return checked
