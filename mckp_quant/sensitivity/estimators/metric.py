r"""A caller's own distance between the float and the quantised network's outputs, measured on the network.

The mean over samples of ``metric(float outputs, quantised outputs)``, with one weight in one format and all others in
floating point.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...errors import InvalidInput
from ..engine.one_layer_at_a_time import measuring

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...network.batch import Batch
    from ..task import Reader, Task

UNIT = "units of the metric"


@contextlib.contextmanager
def metric(task: Task) -> Iterator[Reader]:
    """Measure the caller's distance for every layer and format.

    Parameters
    ----------
    task
        What to measure, with its metric.

    Yields
    ------
    read
        From a batch to the distances of its samples. It raises InvalidInput when the model fails on the batch or the
        metric gives anything but one number for each sample.

    Raises
    ------
    InvalidInput
        When the task has no metric.
    """
    distance = task.metric
    if distance is None:
        raise InvalidInput(
            "method='metric' needs the metric: give measure(..., metric=function), from the outputs of the float and "
            "of the quantised network to one number per sample"
        )

    def judged(reference: Tensor, logits: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        values = distance(reference, logits)
        if not isinstance(values, Tensor) or tuple(values.shape) != (batch.size,):
            shape = f"the shape {tuple(values.shape)}" if isinstance(values, Tensor) else f"a {type(values).__name__}"
            raise InvalidInput(
                f"the metric returned {shape} for the {batch.size} samples of batch {batch.index}: it must return a "
                f"tensor with one number for each, of shape ({batch.size},)"
            )
        return values.detach().double().cpu(), torch.ones(batch.size, dtype=torch.float64)

    with measuring(task, judged, lambda _: UNIT) as read:
        yield read
