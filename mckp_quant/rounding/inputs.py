"""Fake quantisation of activations: what a layer sees of its input when that is stored in few bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..formats.ranges import grid_of
from .arithmetic import SMALL_FLOATS

if TYPE_CHECKING:
    from ..formats.schemes import ActivationScheme

_HALF = {"float16": torch.float16, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class InputRounding:
    """Rounds the input of a layer; may be registered as a forward pre-hook with keywords.

    Attributes
    ----------
    scheme
        What the input is stored as.
    low, high
        The range, for schemes that are calibrated; others take no notice of it.
    """

    scheme: ActivationScheme
    low: float = 0.0
    high: float = 0.0

    def __call__(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """What the module is to be called with."""
        inputs = input_of(args, kwargs)
        if inputs is None:
            return args, kwargs
        rounded = self.round(inputs, of_tokens=has_tokens(module))
        if inputs.requires_grad and torch.is_grad_enabled():  # straight through: rounding has no slope of its own
            rounded = inputs + (rounded - inputs).detach()
        return with_input(rounded, args, kwargs)

    def round(self, inputs: Tensor, *, of_tokens: bool = True) -> Tensor:
        """Round an input.

        Parameters
        ----------
        inputs
            Any shape. Whole numbers, such as the indices of an embedding, stay as they are.
        of_tokens
            For dynamic schemes: whether every row of the last dimension has a range of its own, or every entry of the
            first dimension.

        Returns
        -------
        rounded
            Shape and dtype of `inputs`; half precision is computed in float32.
        """
        if not inputs.is_floating_point() or not inputs.numel():
            return inputs
        numbers = inputs if inputs.dtype == torch.float64 else inputs.float()
        if self.scheme.element in _HALF:
            kind = _HALF[self.scheme.element]
            limit = torch.finfo(kind).max
            return numbers.clamp(-limit, limit).to(kind).to(inputs.dtype)
        rounded = self._dynamic(numbers, of_tokens) if self.scheme.dynamic else self._static(numbers)
        return rounded.to(inputs.dtype)

    def _static(self, numbers: Tensor) -> Tensor:
        if self.scheme.family == "float":
            kind = SMALL_FLOATS[self.scheme.element]
            scale = max(-self.low, self.high) / kind.largest or 1.0
            return kind.round(numbers / scale) * scale
        grid = grid_of(self.low, self.high, self.scheme)
        steps = (numbers / grid.scale).round_()  # codes less the zero point
        return steps.clamp_(grid.least - grid.zero_point, grid.most - grid.zero_point).mul_(grid.scale)

    def _dynamic(self, numbers: Tensor, of_tokens: bool) -> Tensor:
        within = (numbers.ndim - 1,) if of_tokens else tuple(range(1, numbers.ndim))
        low, high = numbers.amin(dim=within, keepdim=True), numbers.amax(dim=within, keepdim=True)
        low, high = low.clamp(max=0), high.clamp(min=0)
        peak = torch.maximum(-low, high)
        if self.scheme.family == "float":
            kind = SMALL_FLOATS[self.scheme.element]
            scale = _positive(peak / kind.largest)
            return kind.round(numbers / scale) * scale
        if self.scheme.symmetric:
            top = 2 ** (self.scheme.bits - 1) - 1
            scale = _positive(peak / top)
            return (numbers / scale).round_().clamp_(-top, top).mul_(scale)
        top = 2**self.scheme.bits - 1
        scale = _positive((high - low) / top)
        zero = (-low / scale).round_().clamp_(0, top)
        steps = (numbers / scale).round_()
        return torch.minimum(torch.maximum(steps, -zero), top - zero).mul_(scale)


def input_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor | None:
    """The input of a layer from what it is called with; None where that is no tensor."""
    found = args[0] if args else kwargs.get("input")
    return found if isinstance(found, Tensor) else None


def with_input(inputs: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What a layer is called with, its input replaced."""
    return ((inputs, *args[1:]), kwargs) if args else (args, {**kwargs, "input": inputs})


def has_tokens(module: nn.Module) -> bool:
    """Whether the last dimension of the layer's input is what it multiplies: not so for convolutions."""
    return not isinstance(module, nn.modules.conv._ConvNd)


def _positive(scale: Tensor) -> Tensor:
    scale = scale.float().to(scale.dtype)
    return torch.where(scale > 0, scale, 1)
