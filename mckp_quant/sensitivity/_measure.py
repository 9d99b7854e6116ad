"""The front door of measuring: finds the layers, rounds their weights, and lets an estimator predict the loss."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Sized
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..batches import as_batches, evaluating
from ..discovery import discover, modules, weight_of
from ..errors import InvalidInput, unknown
from ..formats import as_formats
from ..quantizers import perturbations
from . import sqnr, weight_mse
from ._cache import cached_perturbations
from ._checkpoint import Checkpoint
from ._dense_outputs import classes_last, targets_flat
from ._estimator import Estimator, LayerWeight, Task
from ._run import Stop, run
from .empirical_fisher import empirical_fisher
from .first_order import first_order
from .gauss_newton import gauss_newton
from .hessian_form import hessian_form
from .hutchinson import hutchinson, hutchinson_blockwise
from .likelihood import LIKELIHOODS
from .measured_kl import measured_kl
from .measured_loss import measured_loss
from .metric import metric as own_metric
from .table import SensitivityTable

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

    from torch import Tensor, nn

    from ..formats import Format
    from ..layers import Layer

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
}
DATA_FREE: dict[str, tuple[Callable[[Task], Tensor], str]] = {
    "weight_mse": (weight_mse.weight_mse, weight_mse.UNIT),
    "sqnr": (sqnr.sqnr, sqnr.UNIT),
}
METHODS = (*ESTIMATORS, *DATA_FREE)


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
    progress: Callable[[int, int | None], None] | None = None,
) -> SensitivityTable:
    """Predict how much the loss rises when one layer's weight is stored in one format, for all layers and formats.

    The model runs in eval mode and is given back as it was: mode, gradients, hooks, buffers, random state. Inputs the
    network was not trained on give the right scale; training inputs may underestimate it tenfold.

    Parameters
    ----------
    model
        The network.
    batches
        An iterable, consumed once, of tensors, ``(inputs, targets)`` pairs, or dicts of tensors for models that take
        keywords. Samples lie along the first dimension.
    formats
        Names or `Format` objects, such as ``"w2,w4"``.
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
        - ``"hutchinson"``, ``"hutchinson_blockwise"``: average Hessian trace times squared error (HAWQ-V2); targets.
        - ``"weight_mse"``, ``"sqnr"``: squared error of the weight, absolute and relative; data are not used, only one
          batch's shapes.
    likelihood
        ``"categorical"`` for class logits ``(N, C)`` or ``(N, T, C)``, ``"gaussian"`` for regression with unit
        variance. Every position of a sequence counts, padding too.
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
    progress
        Called after each batch with the number done and the total, or None where that is unknown.

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
    if probes < 1:
        raise InvalidInput(f"probes is {probes}: it must be at least 1")
    if metric is not None and method != "metric":
        raise InvalidInput(f"a metric is given, but method={method!r} does not use it: say method='metric'")
    stop = Stop(target, max_batches)
    total = _length(batches)
    if total is not None and max_batches is not None:
        total = min(total, max_batches)
    stream = as_batches(batches)
    if class_dim is not None:
        output = classes_last(output, class_dim)
        stream = map(targets_flat, stream)
    first = next(stream)
    rows = _chosen(discover(model, first), layers)
    with evaluating(model):
        weights = layer_weights(model, rows, columns, None if cache is None else Path(cache))
        task = Task(model, weights, LIKELIHOODS[likelihood], output, seed, probes, metric)
        if method in DATA_FREE:
            return _data_free(task, method, rows, columns)
        settings = repr((method, likelihood, seed, probes, class_dim, [entry.name for entry in columns]))
        totals = run(
            task,
            ESTIMATORS[method],
            itertools.chain([first], stream),
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
        weights=np.array(totals.sizes),
        method=method,
        samples=sum(totals.samples),
        seed=seed,
    )


def _data_free(task: Task, method: str, rows: tuple[Layer, ...], columns: tuple[Format, ...]) -> SensitivityTable:
    compute, unit = DATA_FREE[method]
    loss = compute(task).numpy()
    return SensitivityTable(
        layers=rows, formats=columns, loss=loss, stderr=np.zeros_like(loss), unit=unit, method=method, seed=task.seed
    )


def _length(batches: object) -> int | None:
    """How many batches there are; None for generators, and for loaders that do not know."""
    try:
        return len(batches) if isinstance(batches, Sized) else None
    except TypeError:
        return None


def _chosen(found: tuple[Layer, ...], names: Iterable[str] | None) -> tuple[Layer, ...]:
    if names is None:
        return found
    wanted = {names} if isinstance(names, str) else set(names)
    known = [layer.name for layer in found]
    for name in sorted(wanted):
        if name not in known:
            raise unknown("layer", name, known)
    if not wanted:
        raise InvalidInput("layers is empty: name at least one layer, or leave it out to measure all")
    return tuple(layer for layer in found if layer.name in wanted)


def layer_weights(
    model: nn.Module, layers: Sequence[Layer], formats: Sequence[Format], cache: Path | None = None
) -> tuple[LayerWeight, ...]:
    """Find the modules and parameters of each layer in the model, and what each format adds to its weight."""
    compute = perturbations if cache is None else functools.partial(cached_perturbations, cache)
    found = modules(model, layers)
    weights = []
    for layer in layers:
        users = tuple(dict.fromkeys(found[name] for name in (layer.name, *layer.ties)))
        parameters = tuple(dict.fromkeys(weight_of(module) for module in users))
        weights.append(LayerWeight(layer, users, parameters, compute(parameters[0], formats, layer)))
    return tuple(weights)
