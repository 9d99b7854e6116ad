r"""Measures what layers add to each other's errors, with the backward passes of the Gauss-Newton estimate.

A probe ``v_n`` of covariance ``S_n`` sent back once gives ``a_{n,i} = v_n' J_n dw_i`` for every layer in every format
``i``. Its square is the estimate of that entry's own loss (see `gauss_newton`); products ``a_{n,i} a_{n,j}`` of two
layers estimate ``dw_i' J_n' S_n J_n dw_j``, the term between them, without another pass.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..common.checks import check_count
from ..common.renamed import OUTPUTS, renamed_keywords, run_keywords
from ..common.run_options import RunOptions
from ..errors import InvalidInput
from ..formats.format import as_formats
from ..network.batches import evaluating
from ..network.checkpoints.plain_names import unwrapped
from ..network.likelihood import unit
from ..network.outputs import Outputs
from ..network.weight_uses import check_usable
from ..rounding.bank import rounder_of_bank
from ..rounding.chosen_weights import check_bank
from ..sensitivity.arguments import chosen_layers
from ..sensitivity.cache import layer_weights
from ..sensitivity.engine.taps import Taps
from ..sensitivity.reach import Reach
from ..sensitivity.task import Task
from .form import Interactions

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from ..formats.format import Format
    from ..network.batch import Batch
    from ..rounding.bank import WeightBank

_MOST_PARTS = 16  # of the matrix that are kept apart


@renamed_keywords(**OUTPUTS, **run_keywords("seed", "progress"))
def measure_interactions(
    model: nn.Module,
    batches: Iterable[object],
    *,
    formats: str | Iterable[str | Format],
    probes: int = 1,
    layers: Iterable[str] | None = None,
    bank: WeightBank | None = None,
    outputs: Outputs = Outputs(),
    run: RunOptions = RunOptions(),
) -> Interactions:
    """Measure the cross-layer matrix of the Gauss-Newton form, for layers and formats.

    The same arguments give the diagonal that `measure` gives. Terms between layers need more samples than losses of
    single layers: estimate them on hundreds of inputs, and let `Interactions.shrinkage` say how much of them holds.

    Parameters
    ----------
    model
        The network; it is given back as it was.
    batches
        As for `measure`; at least 2 batches, or nothing can be held out to find the shrinkage.
    formats, probes, layers, outputs
        As for `measure`.
    bank
        The weights in these formats; by default they are rounded to nearest.
    run
        The seed of the probes, the cache of rounding errors (not with a bank, which holds them itself), how many
        batches are read at most, and progress, batch by batch.

    Returns
    -------
    interactions
        The matrix, in up to 16 parts that come from different batches.

    Raises
    ------
    InvalidInput
        When an argument is not understood, the model fails on a batch, no gradient reaches a layer, or the bank is of
        other weights or lacks a format.
    """
    run.only("measure_interactions", "seed", "cache", "max_batches", "progress")
    model = unwrapped(model)
    columns = as_formats(formats)
    check_usable(model)
    check_count("probes", probes, 1)
    joint = [entry.name for entry in columns if entry.activation_scheme is not None]
    if joint:
        raise InvalidInput(
            f"interactions are of weights only, and format {joint[0]!r} rounds activations too: there are none for "
            "a table with such formats; refine it without them"
        )
    check_bank(bank)
    if bank is not None and run.cache is not None:
        raise InvalidInput(
            f"run has cache={str(run.cache)!r}, which keeps weights that are rounded to nearest, and bank= holds "
            "others: leave one of them out"
        )
    stream = list(itertools.islice(outputs.batches(batches, model), run.max_batches))
    rows = chosen_layers(model, stream[0], layers)
    if bank is not None:
        bank.check(model, [row.name for row in rows])
    parts: list[NDArray[np.float64]] = []
    weights: list[float] = []
    with evaluating(model):
        found = layer_weights(model, rows, columns, None if run.cache is None else Path(run.cache), bank=bank)
        task = Task(model, found, outputs.distribution, outputs.logits, run.seed)
        taps, reach = Taps(task), Reach(task)
        with reach.attached(), taps.attached():
            samples = 0
            for position, batch in enumerate(stream):
                task.state.begin(run.seed, samples, batch.size)  # as `measure` does: its table is the diagonal
                samples += batch.size
                total, size, measured_in = _products(task, taps, reach, batch, probes)
                if position < _MOST_PARTS:
                    parts.append(total)
                    weights.append(size)
                else:
                    parts[position % _MOST_PARTS] += total
                    weights[position % _MOST_PARTS] += size
                run.report(position + 1, len(stream))
        reach.unknown()
    seen = np.flatnonzero(weights)  # a batch of padding only says nothing
    if len(seen) == 0:
        raise InvalidInput("all positions of the batches are padding, so nothing can be measured: give other batches")
    return Interactions(
        layer_names=tuple(row.name for row in rows),
        formats=tuple(entry.name for entry in columns),
        parts=np.array(parts)[seen] / np.array(weights)[seen, None, None],
        batch_sizes=np.array(weights)[seen],
        unit=measured_in,
        samples=samples,
        seed=run.seed,
        rounder=rounder_of_bank(bank),
    )


def _products(
    task: Task, taps: Taps, reach: Reach, batch: Batch, probes: int
) -> tuple[NDArray[np.float64], float, str]:
    """``(n, n)`` the sum over the samples of a batch, probes averaged; how many samples, without padding; the unit."""
    reach.begin(batch)
    logits = taps.forward(batch)
    counted = task.likelihood.counted(logits, batch)
    positions = task.likelihood.positions(logits)
    n = task.shape[0] * task.shape[1]
    total = torch.zeros(n, n, dtype=torch.float64)
    for probe in range(probes):
        vectors = task.likelihood.curvature_probe(logits, task.state.draws, batch)
        products = taps.backward(vectors, keep_graph=probe < probes - 1)
        total += _outer(products, batch.size)
    if bool(counted.any()):
        reach.note(batch, products)
    scale = 1 / (2 * positions * probes)
    return (total * scale).numpy(), float(counted.sum()) / positions, unit(logits)


def _outer(products: list[Tensor], samples: int) -> Tensor:
    """Sum of products over samples; where a layer is known as a sum over the batch only, the product of two sums.

    Probes of different samples are independent, so the product of sums has the sum of products as its mean.
    """
    summed = torch.cat([product.sum(dim=0) for product in products])
    split = torch.cat([product.expand(samples, -1) for product in products], dim=1)
    alone = torch.cat([torch.full((product.shape[1],), len(product) == samples) for product in products])
    both = alone[:, None] & alone[None, :]
    return torch.where(both, split.T @ split, summed[:, None] * summed[None, :])
