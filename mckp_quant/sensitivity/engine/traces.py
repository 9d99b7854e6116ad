"""Turns draws of every layer's Hessian trace into a reading: the average trace times half the squared error."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from ...network.likelihood import unit
from ..task import Reading
from .second_order import gradient_graph, labelled_size

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from ...network.batch import Batch
    from ..task import Reader, Task

    # From the gradients of the mean loss to ``(probes, n_layers)`` float64: independent draws of all traces.
    Draw = Callable[[Task, dict[nn.Parameter, Tensor]], Tensor]


def trace_reader(task: Task, method: str, draw: Draw) -> Reader:
    """Scale traces to all formats.

    Parameters
    ----------
    task
        What to measure.
    method
        The estimator, for messages.
    draw
        Draws the traces of one batch.

    Returns
    -------
    read
        From a batch with targets to one sum, negative where a trace came out negative. The batch is the unit of the
        standard error, which covers inputs and probes; from a single batch it is that over probes alone, and unknown
        for a single probe. It raises InvalidInput when the batch has no targets, they do not fit, or the model fails on
        the batch or cannot be differentiated twice.
    """
    half_squares = torch.stack([weight.errors.squares() / 2 for weight in task.weights])
    elements = torch.tensor([weight.layer.elements for weight in task.weights], dtype=torch.float64)

    def read(batch: Batch) -> Reading:
        with gradient_graph(task, batch, method) as (logits, gradients):
            traces = draw(task, gradients) / elements
        size = labelled_size(task, logits, batch)
        return Reading(
            sums=tuple((size * traces.mean(dim=0)[:, None] * half_squares)[:, None]),
            sizes=tuple(torch.tensor([size], dtype=torch.float64) for _ in task.weights),
            unit=unit(logits),
            stderr=_over_probes(traces) * half_squares,
            surprise=task.likelihood.surprise(logits, batch.targets),
        )

    return read


def _over_probes(draws: Tensor) -> Tensor:
    if len(draws) < 2:
        return torch.full((draws.shape[1], 1), torch.nan, dtype=torch.float64)
    return draws.std(dim=0)[:, None] / math.sqrt(len(draws))
