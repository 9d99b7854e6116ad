"""The orders in which llama.cpp's converter writes a network's weights, found by what the weights are.

A file holds queries and keys of Llama's kind with the rows of each head in pairs, weights of ``(in, out)`` as
``(out, in)``, and of gpt-oss the gates and ups apart that the network holds row by row. Which of these a weight is in
is not guessed: put back into the order of the network it must have the digest that its bank was made from.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import torch

from ...network.fingerprint import tensor_digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from torch import Tensor

_MATRIX = 2  # dimensions
_TYPES = (torch.float32, torch.bfloat16, torch.float16)


def order_of(weight: Tensor, digest: str, heads: Iterable[int]) -> Tensor | None:
    """Find which rows of the network's weight those of a file are.

    Parameters
    ----------
    weight
        ``(out, in)`` or ``(experts, out, in)`` float32, as it lies in the file; gates of experts before ups.
    digest
        `tensor_digest` of the network's weight.
    heads
        How many heads queries, or keys, may have.

    Returns
    -------
    rows
        ``(n,)`` int64: for each row of the file the row of the network's weight that it is, outputs of all experts
        counted through; None where the weight is another one in every order that is known.
    """
    for rows in _orders(weight.shape, heads):
        back = torch.empty_like(weight).reshape(len(rows), -1)
        back[rows] = weight.reshape(len(rows), -1)
        own = back.reshape(weight.shape)
        for kind, made in itertools.product(_TYPES, (own, own.transpose(-1, -2))):
            lowered = made.to(kind)
            if torch.equal(lowered.float(), made) and tensor_digest(lowered) == digest:
                return rows
    return None


def _orders(shape: tuple[int, ...], heads: Iterable[int]) -> Iterator[Tensor]:
    """As it is; of matrices in pairs of each head; of experts the gates before the ups."""
    *experts, outputs, _ = shape
    plain = torch.arange(outputs)
    if len(shape) == _MATRIX:
        yield plain
        for count in dict.fromkeys(heads):
            if count > 0 and outputs % (2 * count) == 0:
                yield plain.reshape(count, 2, -1).transpose(1, 2).reshape(-1)
        return
    first = outputs * torch.arange(experts[0])[:, None]
    yield (first + plain).reshape(-1)
    if outputs % 2 == 0:
        yield (first + plain.reshape(-1, 2).t().reshape(-1)).reshape(-1)
