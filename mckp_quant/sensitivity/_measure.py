"""The front door of measuring: finds the layers, rounds their weights, and lets an estimator predict the loss."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sized
from typing import TYPE_CHECKING

from ..batches import Batch, as_batches, evaluating
from ..discovery import discover, modules, weight_of
from ..errors import InvalidInput, unknown
from ..formats import as_formats
from ..quantizers import perturbations
from . import gauss_newton, hutchinson
from ._estimator import Estimator, LayerWeight, Task
from .likelihood import LIKELIHOODS
from .table import SensitivityTable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import nn

    from ..formats import Format
    from ..layers import Layer

ESTIMATORS: dict[str, Estimator] = {
    "gauss_newton": gauss_newton.estimate,
    "hutchinson": hutchinson.estimate,
}


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
        ``"gauss_newton"`` (needs no targets) or ``"hutchinson"`` (needs targets).
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
    if method not in ESTIMATORS:
        raise unknown("method", method, ESTIMATORS)
    if likelihood not in LIKELIHOODS:
        raise unknown("likelihood", likelihood, LIKELIHOODS)
    if probes < 1:
        raise InvalidInput(f"probes is {probes}: it must be at least 1")
    total = _length(batches)
    stream = as_batches(batches)
    first = next(stream)
    rows = _chosen(discover(model, first), layers)
    with evaluating(model):
        task = Task(model, layer_weights(model, rows, columns), LIKELIHOODS[likelihood], output, seed, probes)
        counter = _Counter(itertools.chain([first], stream), progress, total)
        estimate = ESTIMATORS[method](task, counter)
    return SensitivityTable(
        layers=rows,
        formats=columns,
        loss=estimate.loss.numpy(),
        stderr=estimate.stderr.numpy(),
        unit=estimate.unit,
        contributions=estimate.contributions.numpy(),
        weights=estimate.sizes.numpy(),
        method=method,
        samples=counter.samples,
        seed=seed,
    )


class _Counter:
    """Passes batches on, counts samples, and reports a batch when the next one is asked for."""

    def __init__(
        self, batches: Iterable[Batch], progress: Callable[[int, int | None], None] | None, total: int | None
    ) -> None:
        self._batches = batches
        self._progress = progress
        self._total = total
        self.samples = 0

    def __iter__(self) -> Iterator[Batch]:
        for done, batch in enumerate(self._batches, start=1):
            yield batch
            self.samples += batch.size
            if self._progress is not None:
                self._progress(done, self._total)


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


def layer_weights(model: nn.Module, layers: Sequence[Layer], formats: Sequence[Format]) -> tuple[LayerWeight, ...]:
    """Find the modules and parameters of each layer in the model, and what each format adds to its weight."""
    found = modules(model, layers)
    weights = []
    for layer in layers:
        users = tuple(dict.fromkeys(found[name] for name in (layer.name, *layer.ties)))
        parameters = tuple(dict.fromkeys(weight_of(module) for module in users))
        weights.append(LayerWeight(layer, users, parameters, perturbations(parameters[0], formats, layer)))
    return tuple(weights)
