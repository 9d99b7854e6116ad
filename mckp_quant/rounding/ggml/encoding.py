"""Rows of a weight as blocks of ggml, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn.functional import pad

from ..rows import chunks
from .kinds import kind_of
from .layout import from_bytes, to_bytes
from .reference import REFERENCE, reference_blocks
from .superblocks import fitted_blocks

if TYPE_CHECKING:
    from torch import Tensor

_LEAST_IMPORTANCE = 0.01  # of the mean: what no input was seen for is not left to chance


def encode_rows(rows: Tensor, name: str, importance: Tensor | None = None) -> Tensor:
    """Round rows to a type of ggml.

    Parameters
    ----------
    rows
        ``(channels, row)``, finite. A row that is no multiple of the block is filled up with zeros.
    name
        The format, such as ``"q4_k"``.
    importance
        ``(channels, row)``, not negative: how much the square of an error of each weight counts. None for the same
        everywhere; types whose blocks have one formula are then what ggml's own quantiser makes of them.

    Returns
    -------
    data
        ``(channels, bytes)`` uint8, as in a GGUF file.
    """
    kind = kind_of(name)
    channels, row = rows.shape
    missing = -row % kind.block
    blocks = pad(rows.detach().float(), (0, missing)).reshape(-1, kind.block)
    if importance is None and name in REFERENCE:
        made = [to_bytes(reference_blocks(chunk, kind), kind) for chunk in chunks(blocks)]
        return torch.cat(made).reshape(channels, -1)
    if importance is None:
        weights = torch.ones((), device=rows.device).expand(blocks.shape)
    else:
        mean = importance.mean(dim=1, keepdim=True)
        relative = torch.where(mean > 0, importance / mean, 1).float() + _LEAST_IMPORTANCE
        weights = pad(relative, (0, missing)).reshape(blocks.shape)
    pairs = zip(chunks(blocks), chunks(weights), strict=True)
    made = [to_bytes(fitted_blocks(chunk, own, kind), kind) for chunk, own in pairs]
    return torch.cat(made).reshape(channels, -1)


def decode_rows(data: Tensor, name: str, row: int) -> Tensor:
    """``(channels, row)`` float32: what ``(channels, bytes)`` stand for, to the last bit what runtimes read."""
    kind = kind_of(name)
    parts = [from_bytes(chunk, kind).values(kind) for chunk in chunks(data.reshape(-1, kind.nbytes))]
    return torch.cat(parts).reshape(len(data), -1)[:, :row]
