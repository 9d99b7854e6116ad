"""Finds the ranges of activations on data, layer by layer: least and largest, percentiles, or least squared error."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..errors import InvalidInput, unknown
from ..formats.format import as_formats
from ..formats.ranges import ActivationRanges
from ..network.batches import as_batches, call, evaluating
from ..network.checkpoints.plain_names import unwrapped
from ..network.weight_uses import MIXTURES, uses_in
from .inputs import InputRounding, input_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..formats.format import Format
    from ..formats.schemes import ActivationScheme

RULES = ("minmax", "percentile", "mse")
PERCENTILE = 99.99  # of the numbers on either side of zero that "percentile" keeps within the range
STEPS = 40  # "mse" tries ranges of k/40 of the full one, k = 1..40
_KEPT = 2**15  # numbers of each layer that percentiles and errors are computed from
_DRAWN = 2**13  # numbers taken from one call of a layer


def calibrate_ranges(
    model: nn.Module,
    batches: Iterable[object],
    formats: str | Iterable[str | Format],
    *,
    rule: str = "mse",
    seed: int = 0,
) -> ActivationRanges:
    """Run a network and choose the range of every layer's input, for every activation scheme of the formats.

    Ranges contain zero. ``"minmax"`` takes the least and the largest number seen; ``"percentile"`` leaves out a share
    of 10^-4 of the numbers at either end; ``"mse"`` shrinks the range of ``"minmax"`` in `STEPS` even steps to the one
    with the least squared error, which for few bits is much smaller. The last two look at numbers drawn at random where
    a layer has seen very many.

    Parameters
    ----------
    model
        The float network; it runs in eval mode and is given back as it was.
    batches
        As for `measure`; targets are not used.
    formats
        Formats, whose weights do not matter here.
    rule
        ``"minmax"``, ``"percentile"`` or ``"mse"``.
    seed
        Of the numbers drawn.

    Returns
    -------
    ranges
        For every layer that was called, under the name of each module; none for embeddings, which take whole numbers,
        nor for experts, whose inputs are not all seen from outside.

    Raises
    ------
    InvalidInput
        When the rule is unknown, the model fails on a batch, or an input of a layer is not finite.
    """
    if rule not in RULES:
        raise unknown("rule for activation ranges", rule, RULES)
    model = unwrapped(model)
    schemes = list(
        dict.fromkeys(
            entry.activation_scheme
            for entry in as_formats(formats)
            if entry.activation_scheme is not None and entry.activation_scheme.calibrated
        )
    )
    observers = {
        name: _Observer(name, torch.Generator().manual_seed(seed + at))
        for at, (name, use) in enumerate(uses_in(model).items())
        if use.kind not in MIXTURES
    }
    samples = 0
    with evaluating(model), contextlib.ExitStack() as hooks, torch.no_grad():
        for name, observer in observers.items():
            handle = model.get_submodule(name).register_forward_pre_hook(observer.hook, with_kwargs=True)
            hooks.callback(handle.remove)
        for batch in as_batches(batches, model):
            call(model, batch)
            samples += batch.size
    chosen = {
        (name, scheme.name): _CHOICES[rule](observer, scheme)
        for name, observer in observers.items()
        if observer.seen
        for scheme in schemes
    }
    return ActivationRanges(rule, samples, chosen)


class _Observer:
    """Keeps the extremes of a layer's input and an even sample of its numbers.

    Every number drawn gets a random key, and those with the least keys are kept, so that all calls count alike.
    """

    def __init__(self, layer: str, generator: torch.Generator) -> None:
        self._layer = layer
        self._generator = generator
        self._keys = torch.zeros(0)
        self.low, self.high, self.seen = 0.0, 0.0, False
        self.numbers = torch.zeros(0)

    def hook(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        inputs = input_of(args, kwargs)
        if inputs is None or not inputs.is_floating_point() or not inputs.numel():
            return
        low, high = (float(each) for each in torch.aminmax(inputs.detach()))
        if not (torch.isfinite(torch.tensor([low, high])).all()):
            raise InvalidInput(f"the input of layer {self._layer!r} holds nan or infinite numbers: check the inputs")
        self.low, self.high, self.seen = min(self.low, low), max(self.high, high), True
        flat = inputs.detach().flatten()
        if len(flat) > _DRAWN:
            flat = flat[torch.randint(0, len(flat), (_DRAWN,), generator=self._generator).to(flat.device)]
        self._keys = torch.cat([self._keys, torch.rand(len(flat), generator=self._generator)])
        self.numbers = torch.cat([self.numbers, flat.float().cpu()])
        if len(self._keys) > 2 * _KEPT:
            least = self._keys.topk(_KEPT, largest=False).indices
            self._keys, self.numbers = self._keys[least], self.numbers[least]


def _extremes(observer: _Observer, scheme: ActivationScheme) -> tuple[float, float]:
    return observer.low, observer.high


def _percentiles(observer: _Observer, scheme: ActivationScheme) -> tuple[float, float]:
    ends = torch.tensor([1 - PERCENTILE / 100, PERCENTILE / 100])
    low, high = observer.numbers.quantile(ends).tolist()
    return min(low, 0.0), max(high, 0.0)


def _least_error(observer: _Observer, scheme: ActivationScheme) -> tuple[float, float]:
    best, least = (observer.low, observer.high), float("inf")
    for step in range(STEPS, 0, -1):
        low, high = observer.low * step / STEPS, observer.high * step / STEPS
        error = _squared_error(observer.numbers, InputRounding(scheme, low, high))
        if error < least:
            best, least = (low, high), error
    return best


def _squared_error(numbers: Tensor, rounding: InputRounding) -> float:
    return float((rounding.round(numbers) - numbers).square().sum(dtype=torch.float64))


_CHOICES: dict[str, Callable[[_Observer, ActivationScheme], tuple[float, float]]] = {
    "minmax": _extremes,
    "percentile": _percentiles,
    "mse": _least_error,
}
