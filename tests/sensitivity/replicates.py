"""One measurement repeated on fresh draws of samples and probes, to hold the stated errors against the spread."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mckp_quant.formats.format import as_formats
from mckp_quant.network.batches import as_batches, evaluating
from mckp_quant.network.discovery import discover
from mckp_quant.network.likelihoods import Categorical
from mckp_quant.sensitivity.cache import layer_weights
from mckp_quant.sensitivity.task import Task
from mckp_quant.sensitivity.totals import Totals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from mckp_quant.sensitivity import Estimator
    from mckp_quant.sensitivity.task import LayerWeight

    Drawn = Callable[[int], Sequence[object]]


def weights_of(model: nn.Module, inputs: Tensor, formats: str) -> tuple[LayerWeight, ...]:
    return layer_weights(model, discover(model, inputs), as_formats(formats))


def measured(
    model: nn.Module, weights: tuple[LayerWeight, ...], drawn: Drawn, estimator: Estimator, seeds: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Estimates and standard errors, both ``(seeds, n_layers, n_formats)``; ``drawn(seed)`` gives the batches."""
    found = list(_totals(model, weights, drawn, estimator, seeds))
    return tuple(torch.stack(each).numpy() for each in zip(*found, strict=True))  # type: ignore[return-value]


def _totals(
    model: nn.Module, weights: tuple[LayerWeight, ...], drawn: Drawn, estimator: Estimator, seeds: int
) -> Iterator[tuple[Tensor, Tensor]]:
    for seed in range(seeds):
        task = Task(model, weights, Categorical(), None, seed)
        totals = Totals(task.shape)
        with evaluating(model), estimator.reading(task) as read:
            for batch in as_batches(drawn(seed)):
                totals.add(read(batch), batch.size)
        yield totals.moments.mean, totals.stderr
