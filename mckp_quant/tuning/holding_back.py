"""Parts calibration batches into those that are fitted to and those that judge."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..errors import InvalidInput
from ..network.logits import of_targets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..network.batch import Batch


def split(data: Sequence[Batch], share: float, seed: int) -> tuple[list[Batch], list[Batch]]:
    """Part the batches into those that are fitted to and those that judge.

    Parameters
    ----------
    data
        The batches.
    share
        Of the samples that judge, between 0 and 1.
    seed
        Draws which batches are held back.

    Returns
    -------
    fit, held
        Whole batches where there are enough of them to part them so; else, of tensors, the end of every batch.

    Raises
    ------
    InvalidInput
        When there is a single batch that cannot be cut.
    """
    enough = round(1 / share)
    cuttable = all(isinstance(batch.inputs, Tensor) and batch.size > 1 for batch in data)
    if len(data) < enough and cuttable:
        ends = [min(batch.size - 1, max(1, round(share * batch.size))) for batch in data]
        fit = [batch.head(batch.size - end) for batch, end in zip(data, ends, strict=True)]
        return fit, [_tail(batch, end) for batch, end in zip(data, ends, strict=True)]
    if len(data) < 2:
        raise InvalidInput(
            f"there is 1 batch, of {data[0].size} samples, and a part of the data is held back to judge on: give at "
            "least two batches, or one tensor of several samples"
        )
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed)).tolist()
    count = min(len(data) - 1, max(1, round(share * len(data))))
    held = set(order[:count])
    return [data[at] for at in range(len(data)) if at not in held], [data[at] for at in sorted(held)]


def _tail(batch: Batch, count: int) -> Batch:
    assert isinstance(batch.inputs, Tensor)
    targets = of_targets(lambda own: own[-count:], batch.targets)
    return dataclasses.replace(batch, inputs=batch.inputs[-count:], targets=targets, size=count)
