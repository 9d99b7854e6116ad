"""What a network puts out: one tensor, or a tuple of tensors where it has several heads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

# A tensor, or a tuple of tensors, one a head. The likelihood of the outputs knows which of the two it takes.
Logits: TypeAlias = Any


class Parts(tuple[Tensor, ...]):
    """All heads as `Outputs` takes them, told from a tuple that a user's `take` of one head gives by mistake."""

    __slots__ = ()


def heads_of(logits: Logits) -> tuple[Tensor, ...]:
    """The tensors of all heads; of one head it is the only one."""
    return (logits,) if isinstance(logits, Tensor) else logits


def mapped(function: Callable[..., Tensor], *logits: Logits) -> Logits:
    """Call a function on every head of one or more logits, and give its results in the same form."""
    if isinstance(logits[0], Tensor):
        return function(*logits)
    return tuple(function(*each) for each in zip(*logits, strict=True))


def spread(share: Tensor, head: Tensor) -> Tensor:
    """Numbers for every sample and position, ``(N, positions)``, in a shape that a head can be multiplied with.

    Parameters
    ----------
    share
        ``(N, T)``, or ``(N, 1)`` where all positions of a sample have the same.
    head
        ``(N, C)``, ``(N, T, C)``, or of more dimensions.

    Returns
    -------
    share
        ``(N, T, 1)`` for a sequence, and else ``(N, 1, ...)``, of as many dimensions as the head.
    """
    return share.reshape(*share.shape[: head.ndim], *[1] * (head.ndim - 2))


def of_targets(function: Callable[[Tensor], Tensor], targets: Logits) -> Logits:
    """Call a function on the targets of every head; heads without targets stay so."""
    if targets is None or isinstance(targets, Tensor):
        return None if targets is None else function(targets)
    return tuple(None if each is None else function(each) for each in targets)
