"""The front door of measuring: finds the layers, rounds their weights, and lets an estimator predict the loss."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..common.amounts import bytes_of
from ..common.checks import check_count, check_seed
from ..errors import InvalidInput, unknown
from ..formats.format import as_formats
from ..network.batches import as_batches, evaluating
from ..network.dense_outputs import classes_last, targets_flat
from ..network.discovery import discover, uses_of
from ..network.likelihood import LIKELIHOODS
from ..network.tracing import trace_activations
from ..network.weight_uses import check_usable
from ..tables.table import SensitivityTable
from .arguments import check_formats, chosen_layers, length_of, ranges_for
from .cache import cached_perturbations, uncached_perturbations
from .checkpoint import Checkpoint
from .columns import Menu
from .estimators import sqnr, weight_mse
from .estimators.empirical_fisher import empirical_fisher
from .estimators.first_order import first_order
from .estimators.gauss_newton import gauss_newton
from .estimators.hessian_form import hessian_form
from .estimators.hutch_plus_plus import hutch_plus_plus
from .estimators.hutchinson import hutchinson, hutchinson_blockwise
from .estimators.measured_kl import measured_kl
from .estimators.measured_loss import measured_loss
from .estimators.metric import metric as own_metric
from .run import Stop, run
from .streaming import Rounding, errors_bytes
from .streaming import disk as streaming_to
from .task import Estimator, LayerWeight, Task

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from torch import Tensor, nn

    from ..formats.format import Format
    from ..formats.ranges import ActivationRanges
    from ..layers import Activation, Layer
    from ..network.batch import Batch
    from .streaming import Disk

logger = logging.getLogger(__name__)

ESTIMATORS: dict[str, Estimator] = {
    "gauss_newton": gauss_newton,
    "measured_kl": measured_kl,
    "measured_loss": measured_loss,
    "metric": own_metric,
    "hessian_form": hessian_form,
    "empirical_fisher": empirical_fisher,
    "first_order": first_order,
    "hutchinson": hutchinson,
    "hutchinson_blockwise": hutchinson_blockwise,
    "hutch_plus_plus": hutch_plus_plus,
}
DATA_FREE: dict[str, tuple[Callable[[Task], Tensor], str]] = {
    "weight_mse": (weight_mse.weight_mse, weight_mse.UNIT),
    "sqnr": (sqnr.sqnr, sqnr.UNIT),
}
METHODS = (*ESTIMATORS, *DATA_FREE)
KNOW_INPUTS = ("gauss_newton", "empirical_fisher", "first_order", "measured_kl", "measured_loss", "metric")


def measure(
    model: nn.Module,
    batches: Iterable[object],
    *,
    formats: str | Iterable[str | Format],
    method: str = "gauss_newton",
    likelihood: str = "categorical",
    output: Callable[..., object] | None = None,
    seed: int = 0,
    probes: int = 1,
    layers: Iterable[str] | None = None,
    metric: Callable[[Tensor, Tensor], object] | None = None,
    class_dim: int | None = None,
    target: float | None = None,
    max_batches: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    cache: str | os.PathLike[str] | None = None,
    memory_limit: int | str | None = None,
    activation_range: str | ActivationRanges = "mse",
    progress: Callable[[int, int | None], None] | None = None,
) -> SensitivityTable:
    """Predict how much the loss rises when one layer is stored in one format, for all layers and formats.

    The model runs in eval mode, on its own device and in its own precision, and is given back as it was: mode,
    gradients, hooks, buffers, random state. Products with the rounding errors are in float32 at least. Inputs the
    network was not trained on give the right scale; training inputs may underestimate it tenfold.

    Parameters
    ----------
    model
        The network.
    batches
        An iterable, consumed once, of tensors, ``(inputs, targets)`` pairs, or dicts of tensors for models that take
        keywords; ``labels`` among these become targets, shifted by one for causal language models. Samples lie along
        the first dimension.
    formats
        Names or `Format` objects, such as ``"w2,w4"``. Formats that also store the layer's input, such as ``"w4a8"``,
        are measured jointly, by the methods that know inputs: `KNOW_INPUTS`.
    method
        What is predicted or measured, in nats unless said otherwise:

        - ``"gauss_newton"``: the KL divergence from the float network to second order; no targets, one backward pass
          a batch for everything.
        - ``"measured_kl"``: that divergence, measured one layer at a time; a partial forward pass for every entry.
        - ``"measured_loss"``: the change of the loss, likewise; needs targets, and is mostly their noise above 3 bits.
        - ``"metric"``: a distance of your own (`metric`), likewise.
        - ``"hessian_form"``: ``dw' H dw / 2`` with the exact Hessian; needs targets, a product for every entry.
        - ``"empirical_fisher"``: mean squared first-order change of each sample's loss (MPQCO); needs targets.
        - ``"first_order"``: ``g . dw``, signed; needs targets. It is never added to another estimate.
        - ``"hutchinson"``, ``"hutchinson_blockwise"``, ``"hutch_plus_plus"``: average Hessian trace times squared error
          (HAWQ-V2), the trace by probes over all layers, layer by layer, or with leading eigenvalues; needs targets.
        - ``"weight_mse"``, ``"sqnr"``: squared error of the weight, absolute and relative; data are not used, only one
          batch's shapes.
    likelihood
        ``"categorical"`` for class logits ``(N, C)`` or ``(N, T, C)``, ``"gaussian"`` for regression with unit
        variance. Every position of a sequence counts, except what the keyword ``attention_mask`` says is padding (with
        class logits).
    output
        From what the model returns to the logits. By default it returns them, or has them as ``.logits``.
    seed
        Seed of the random probes: the same seed, model and batches in the same order give the same table. In another
        order the probes meet other samples, and the table differs within its standard errors.
    probes
        Random probes for each batch. More batches are nearly always worth more than more probes.
    layers
        Names of the layers to measure; all by default.
    metric
        With ``method="metric"``: from the outputs of the float and of the quantised network (after `output`) to a
        tensor with one number per sample, small where they agree.
    class_dim
        Where dense outputs such as ``(N, C, H, W)`` have their classes, 1 there: every position then counts as a token,
        and targets are ``(N, H, W)``.
    target
        Stop as soon as no standard error exceeds this fraction of its loss; losses below a hundredth of their format's
        largest do not count. Where the batches end before, a warning is logged.
    max_batches
        Stop after so many batches.
    checkpoint
        A file that is written after every batch. If it exists, its batches are skipped and the measurement goes on:
        with the same arguments and batches, to the same numbers to the last bit.
    cache
        A folder in which the rounding errors of weights are kept, for measuring the same network again.
    memory_limit
        How many bytes the rounding errors of all layers may hold in memory, as a number or such as ``"500MB"``; what is
        more goes to a temporary folder and is read when it is needed, layer by layer. The numbers are the same to the
        last bit. The largest layer in all formats has to fit.
    activation_range
        How the ranges of inputs are chosen, on the first eight batches: see `calibrate_ranges`; or the
        ranges themselves. The table keeps them, for the policies that are made from it.
    progress
        Called after each batch with the number done and the total: `max_batches` where the batches do not tell, None
        where that is not given either.

    Returns
    -------
    table
        ``loss`` and ``stderr`` in nats per sample, or per token for sequences, and each batch's contribution.

    Raises
    ------
    InvalidInput
        When an argument is not understood, the model has nothing to quantise or fails on a batch, or there are no
        batches. The message names what was wrong.
    """
    columns = as_formats(formats)
    if method not in METHODS:
        raise unknown("method", method, METHODS)
    if likelihood not in LIKELIHOODS:
        raise unknown("likelihood", likelihood, LIKELIHOODS)
    check_count("probes", probes, 1)
    if metric is not None and method != "metric":
        raise InvalidInput(f"a metric is given, but method={method!r} does not use it: say method='metric'")
    check_formats(columns, method, KNOW_INPUTS, activation_range)
    menu = Menu.of(columns)
    check_seed(seed)
    limit = None if memory_limit is None else bytes_of("memory_limit", memory_limit)
    check_usable(model)
    stop = Stop(target, max_batches)
    total = min((count for count in (length_of(batches), max_batches) if count is not None), default=None)
    stream = as_batches(batches, model)
    if class_dim is not None:
        output = classes_last(output, class_dim)
        stream = map(targets_flat, stream)
    first = next(stream)
    rows = chosen_layers(discover(model, first), layers)
    tensors = _activations(model, first, rows)
    again: Iterator[Batch] = itertools.chain([first], stream)
    ranges, whole = ranges_for(menu, columns, activation_range, model, again, max_batches)
    with evaluating(model), streaming_to(limit) as disk:
        stored = menu.weights if menu.schemes else columns
        weights = layer_weights(model, rows, stored, None if cache is None else Path(cache), limit, disk)
        users = {name: use.module for name, use in uses_of(model, rows).items()}
        joint = menu.on(rows, users, ranges) if menu.schemes else None
        task = Task(model, weights, LIKELIHOODS[likelihood], output, seed, probes, metric, joint)
        if method in DATA_FREE:
            return dataclasses.replace(_data_free(task, method, rows, columns), activations=tensors)
        settings = repr((method, likelihood, seed, probes, class_dim, [entry.name for entry in columns]))
        if ranges is not None:
            settings += repr(ranges.document())
        totals = run(
            task,
            ESTIMATORS[method],
            whole,
            stop=stop,
            formats=[entry.name for entry in columns],
            progress=lambda done: None if progress is None else progress(done, total),
            checkpoint=None if checkpoint is None else Checkpoint(Path(checkpoint), settings),
        )
    return SensitivityTable(
        layers=rows,
        formats=columns,
        loss=totals.moments.mean.numpy(),
        stderr=totals.stderr.numpy(),
        unit=totals.unit,
        contributions=torch.stack(totals.contributions).numpy(),
        batch_sizes=np.array(totals.sizes),
        method=method,
        samples=sum(totals.samples),
        seed=seed,
        ranges=ranges,
        activations=tensors,
        likelihood=likelihood,
    )


def _activations(model: nn.Module, batch: Batch, layers: tuple[Layer, ...]) -> tuple[Activation, ...]:
    """The activation tensors, for budgets on peak memory; none, with a warning, where a model cannot be watched."""
    try:
        return trace_activations(model, batch, layers)
    except RuntimeError as error:
        logger.warning("the activation tensors could not be traced, so peaks need activations=...: %s", error)
        return ()


def _data_free(task: Task, method: str, rows: tuple[Layer, ...], columns: tuple[Format, ...]) -> SensitivityTable:
    compute, unit = DATA_FREE[method]
    loss = compute(task).numpy()
    return SensitivityTable(
        layers=rows, formats=columns, loss=loss, stderr=np.zeros_like(loss), unit=unit, method=method, seed=task.seed
    )


def layer_weights(
    model: nn.Module,
    layers: Sequence[Layer],
    formats: Sequence[Format],
    cache: Path | None = None,
    limit: int | None = None,
    disk: Disk | None = None,
) -> tuple[LayerWeight, ...]:
    """Find the modules and parameters of each layer in the model, and what each format adds to its weight."""
    found = uses_of(model, layers)
    places = [tuple(dict.fromkeys(found[name] for name in (layer.name, *layer.ties))) for layer in layers]
    compute = uncached_perturbations if cache is None else functools.partial(cached_perturbations, cache)
    parameters = [tuple(dict.fromkeys(use.weight for use in uses)) for uses in places]
    sizes = [errors_bytes(layer, len(formats), own[0].dtype) for layer, own in zip(layers, parameters, strict=True)]
    rounding = Rounding(compute, formats, sizes, limit, disk)
    return tuple(
        LayerWeight(layer, tuple(dict.fromkeys(use.module for use in uses)), own, rounding(own[0], layer))
        for layer, uses, own in zip(layers, places, parameters, strict=True)
    )
