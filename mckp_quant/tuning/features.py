"""The features of a network on data, and the biases and norms that bring those of a rounded one towards them."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..network.batches import call, evaluating, forward
from ..network.discovery import is_layer
from ..rounding.inputs import input_of
from .lockstep import Lockstep

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..network.batch import Batch

_NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)
_CHANNELS_LAST = (nn.Linear, nn.LayerNorm)
_LARGEST_SCALE = 2.0  # a channel that would have to be stretched by more is noise, or dead


class FeatureMatch:
    """What the features of the float network are on some batches, and brings those of quantised ones towards them.

    Parameters
    ----------
    reference
        The float network.
    data
        The batches.
    take
        From what a network returns to its logits.
    """

    def __init__(self, reference: nn.Module, data: Sequence[Batch], take: Callable[..., object] | None = None) -> None:
        self._data = data
        order = _correctable(reference, data[0], take)
        self._wanted: dict[str, _Moments] = {}
        seen: set[nn.Module] = set()
        names = {reference.get_submodule(name): name for name in order}
        self._has_norms = any(isinstance(module, _NORMS) for module in names)
        batch = data[0]

        def watch(module: nn.Module, args: tuple[Any, ...], result: Tensor) -> None:
            if module not in seen:
                seen.add(module)
                found = self._wanted.setdefault(names[module], _Moments())
                found.add(module, result, batch)

        with evaluating(reference), contextlib.ExitStack() as hooks, torch.no_grad():
            for module in names:
                hooks.callback(module.register_forward_hook(watch).remove)
            for batch in data:
                seen.clear()
                call(reference, batch)

    @property
    def has_norms(self) -> bool:
        """Whether there is a normalisation, whose spread can be matched."""
        return self._has_norms

    def correct(self, model: nn.Module, spreads: float, means: float) -> tuple[str, ...]:
        """Correct a quantised network in place, from its input to its output, in one pass over the batches.

        All batches go through it side by side, each up to the first output of a module that is to be corrected; there
        the moments over all of them are taken, the module is corrected, and they go on with corrected outputs.

        Parameters
        ----------
        model
            The quantised network.
        spreads
            How much of the difference between the spreads of normalisations is taken away, 0 to 1, on a log scale.
        means
            How much of that between means.

        Returns
        -------
        corrected
            The names of the modules that were changed.
        """
        if not spreads and not means:
            return ()
        names = {model.get_submodule(name): name for name in self._wanted}
        passed: list[set[str]] = [set() for _ in self._data]
        done: dict[str, None] = {}

        def hook(module: nn.Module, args: tuple[Any, ...], result: Tensor) -> object:
            name = names[module]
            if name in passed[steps.number]:
                return None
            passed[steps.number].add(name)
            return None if name in done else steps.stop(name, result)

        def meet(name: str, shown: dict[int, Tensor]) -> dict[int, Tensor]:
            done[name] = None
            module, own = model.get_submodule(name), _Moments()
            for at, result in shown.items():
                own.add(module, result, self._data[at])
            change = _match(module, own.taken(), self._wanted[name].taken(), spreads, means)
            return {at: change.of(module, result) for at, result in shown.items()}

        def one(batch: Batch) -> Callable[[], None]:
            def run() -> None:
                with torch.no_grad():
                    call(model, batch)

            return run

        steps = Lockstep([one(batch) for batch in self._data], meet)
        with evaluating(model), contextlib.ExitStack() as hooks, torch.no_grad():
            for module in names:
                hooks.callback(module.register_forward_hook(hook).remove)
            steps.run()
        return tuple(name for name in self._wanted if name in done)


def _correctable(model: nn.Module, batch: Batch, take: Callable[..., object] | None) -> list[str]:
    """Normalisations with scale and shift, and layers that do not feed one directly, in the order in which they run."""
    names = {module: name for name, module in model.named_modules()}
    order: dict[str, None] = {}
    makers: dict[int, tuple[Tensor, str]] = {}  # holds the tensors, so that no identity is used again

    def note(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        name = names[module]
        if isinstance(module, _NORMS):
            if not _affine(module):
                return
            fed = makers.get(id(input_of(args, kwargs)))
            if fed is not None:
                order.pop(fed[1], None)
        elif isinstance(result, Tensor):
            makers[id(result)] = (result, name)
        order[name] = None

    with evaluating(model), contextlib.ExitStack() as hooks, torch.no_grad():
        for module in names:
            if isinstance(module, _NORMS) or (is_layer(module) and not isinstance(module, nn.Embedding)):
                hooks.callback(module.register_forward_hook(note, with_kwargs=True).remove)
        forward(model, batch.head(1), take)
    return list(order)


def _affine(module: nn.Module) -> bool:
    """Whether it has a scale and a shift for each channel."""
    scale, shift = module._parameters.get("weight"), module._parameters.get("bias")
    return scale is not None and shift is not None and scale.ndim == 1


class _Moments:
    """Sums over the outputs of a module: samples, and positions without padding; channel by channel."""

    def __init__(self) -> None:
        self._count = 0
        self._total = self._squares = torch.zeros((), dtype=torch.float64)

    def add(self, module: nn.Module, result: Tensor, batch: Batch) -> None:
        """Count the output for a batch."""
        counted = batch.counted(result) if isinstance(module, _CHANNELS_LAST) else None
        rows = _by_channel(module, result if counted is None else result[counted]).double()
        self._count += len(rows)
        self._total = self._total.to(rows.device) + rows.sum(dim=0)
        self._squares = self._squares.to(rows.device) + rows.square().sum(dim=0)

    def taken(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation, ``(channels,)`` float64 each."""
        mean = self._total / max(1, self._count)
        return mean, (self._squares / max(1, self._count) - mean.square()).clamp(min=0).sqrt()


def _by_channel(module: nn.Module, result: Tensor) -> Tensor:
    """``(samples and positions, channels)``."""
    moved = result if isinstance(module, _CHANNELS_LAST) else result.movedim(1, -1)
    return moved.reshape(-1, moved.shape[-1])


@dataclass(frozen=True, eq=False)
class _Change:
    """What was done to the channels of an output: times `scale`, plus `shift`; ``(channels,)`` float64."""

    scale: Tensor
    shift: Tensor

    def of(self, module: nn.Module, result: Tensor) -> Tensor:
        """The output with the change."""
        shape = [-1] if isinstance(module, _CHANNELS_LAST) else [-1] + [1] * (result.ndim - 2)
        scale, shift = (each.to(result.device).reshape(shape) for each in (self.scale, self.shift))
        return (result.double() * scale + shift).to(result.dtype)


def _match(
    module: nn.Module, own: tuple[Tensor, Tensor], wanted: tuple[Tensor, Tensor], spreads: float, means: float
) -> _Change:
    """Bring a module's channels towards the wanted mean (and spread, for a normalisation), in place."""
    weight = module.weight
    assert isinstance(weight, Tensor)
    shift = means * (wanted[0] - own[0])
    if not isinstance(module, _NORMS):
        if module._parameters.get("bias") is None:
            module.bias = nn.Parameter(torch.zeros(len(shift), dtype=weight.dtype, device=weight.device))
        assert isinstance(module.bias, Tensor)
        module.bias += shift.to(module.bias)
        return _Change(torch.ones_like(shift), shift)
    bias = module.bias
    assert isinstance(bias, Tensor)
    alive = (own[1] > 0) & (wanted[1] > 0)
    scale = torch.where(alive, wanted[1] / own[1].clamp(min=torch.finfo(torch.float64).tiny), 1.0)
    scale = scale.clamp(1 / _LARGEST_SCALE, _LARGEST_SCALE) ** spreads
    centre = own[0]
    bias.copy_(scale * (bias.double() - centre) + centre + shift)
    weight.copy_(scale * weight.double())
    return _Change(scale, centre - scale * centre + shift)
