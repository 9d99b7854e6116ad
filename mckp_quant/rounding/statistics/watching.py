"""Watches a network run: every call in which a layer's weight is multiplied, wherever in the network that is."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ...network.batch import MASK
from ...network.weight_uses import MIXTURES, uses_in
from .patches import CONVOLUTIONS, LINEAR, TRANSPOSED, patch_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from ...layers import Layer
    from ...network.batch import Batch

EAGER = "eager"  # how transformers calls computing expert after expert


@dataclass(frozen=True, eq=False)
class Use:
    """One call in which a layer's weight is multiplied: the function, and all that it was given.

    Attributes
    ----------
    layer
        The layer's name.
    group
        Of experts: which one; 0 for others.
    function
        A key of `patches`.
    inputs
        What the weight is multiplied with.
    weight
        The weight, or that of the expert.
    options
        The arguments after weight and bias.
    """

    layer: str
    group: int
    function: Callable[..., Any]
    inputs: Tensor
    weight: Tensor
    options: tuple[Any, ...]

    def rows(self, inputs: Tensor | None = None) -> Iterator[Tensor]:
        """The rows of its input, or of what is taken in its place: ``(groups, rows, n)`` each."""
        return patch_rows(self.function, self.inputs if inputs is None else inputs, self.weight, *self.options)

    def of(self, inputs: Tensor) -> Use:
        """The same call with another input."""
        return dataclasses.replace(self, inputs=inputs)


class Watch(TorchFunctionMode):
    """Calls `see` before every multiplication with a layer's weight, wherever in the network that is.

    Weights are known by their place in memory, so modules with a forward of their own, tied weights and the experts of
    a mixture are seen like any other.

    Parameters
    ----------
    model
        The network.
    layers
        The layers to watch.
    see
        What to call; what it does to the weight counts for the call.
    """

    def __init__(self, model: nn.Module, layers: Iterable[Layer], see: Callable[[Use], None]) -> None:
        super().__init__()
        self._see = see
        self._implementations: list[tuple[Any, str]] = []
        self._configurations = experts_configurations(model)
        self._known: dict[tuple[int, tuple[int, ...]], tuple[str, int]] = {}
        uses = uses_in(model)
        for layer in layers:
            for name in (layer.name, *layer.ties):
                weight = uses[name].weight
                if uses[name].kind not in MIXTURES:
                    self._known.setdefault((weight.data_ptr(), tuple(weight.shape)), (layer.name, 0))
                    continue
                for expert, own in enumerate(weight):
                    self._known[own.data_ptr(), tuple(own.shape)] = (layer.name, expert)

    def __enter__(self) -> Watch:
        """Begin to watch; experts of Hugging Face's networks are computed one by one until the end."""
        for config in self._configurations:
            self._implementations.append((config, config._experts_implementation))
            config._experts_implementation = EAGER
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        """End, with everything as it was."""
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        while self._implementations:
            config, before = self._implementations.pop()
            config._experts_implementation = before

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Look at the call, then make it."""
        given = dict(kwargs or {})
        if func is LINEAR or func in CONVOLUTIONS or func in TRANSPOSED:
            inputs, weight, *rest = _arguments(func, args, given)
            found = self._known.get((weight.data_ptr(), tuple(weight.shape)))
            if found is not None:
                with torch._C.DisableTorchFunction():
                    self._see(Use(*found, func, inputs, weight, tuple(rest)))
        return func(*args, **given)


def experts_configurations(model: nn.Module) -> list[Any]:
    """What says how Hugging Face's experts are computed: where they are grouped, no expert is multiplied alone."""
    found: dict[int, Any] = {}
    for module in model.modules():
        config = getattr(module, "config", None)
        if getattr(module, "num_experts", None) is not None and getattr(config, "_experts_implementation", None):
            found[id(config)] = config
    return list(found.values())


_LINEAR_NAMES = ("input", "weight", "bias")
_CONVOLUTION_NAMES = (*_LINEAR_NAMES, "stride", "padding", "dilation", "groups")
_TRANSPOSED_NAMES = (*_LINEAR_NAMES, "stride", "padding", "output_padding", "groups", "dilation")
_DEFAULTS = {"stride": 1, "padding": 0, "output_padding": 0, "groups": 1, "dilation": 1}


def _arguments(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
    """Input, weight, and what comes after the bias."""
    names: tuple[str, ...] = _LINEAR_NAMES
    if function is not LINEAR:
        names = _TRANSPOSED_NAMES if function in TRANSPOSED else _CONVOLUTION_NAMES
    given = {**_DEFAULTS, **dict(zip(names, args, strict=False)), **kwargs}
    return [given[name] for name in names if name != "bias" and (name in given or name in {"input", "weight"})]


def mask_of(batch: Batch) -> Tensor | None:
    """Which positions of a batch are no padding, ``(size, tokens)``; None where nothing says so."""
    return None if isinstance(batch.inputs, Tensor) else batch.inputs.get(MASK)


def counted(use: Use, mask: Tensor | None) -> Use:
    """The call without positions of padding, where its input has the mask's samples and tokens."""
    if use.function is not LINEAR or mask is None or use.inputs.ndim != 3 or mask.shape != use.inputs.shape[:2]:
        return use
    return use.of(use.inputs[mask.to(use.inputs.device) != 0])
