"""Runs a network and sums what every layer multiplies its weight with: the Gram matrices that rounders need."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ..errors import InvalidInput
from ..network.batch import MASK
from ..network.batches import as_batches, call, evaluating
from ..network.weight_uses import EXPERTS, uses_in
from .inputs import InputRounding, has_tokens
from .patches import CONVOLUTIONS, LINEAR, TRANSPOSED, patch_rows
from .rounder import InputStatistics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from torch import nn

    from ..layers import Layer
    from ..network.batch import Batch

FLOAT_INPUT = ""  # the name under which the statistics of inputs that stay float are kept


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
        self._known: dict[tuple[int, tuple[int, ...]], tuple[str, int]] = {}
        uses = uses_in(model)
        for layer in layers:
            for name in (layer.name, *layer.ties):
                weight = uses[name].weight
                if uses[name].kind != EXPERTS:
                    self._known.setdefault((weight.data_ptr(), tuple(weight.shape)), (layer.name, 0))
                    continue
                for expert, own in enumerate(weight):
                    self._known[own.data_ptr(), tuple(own.shape)] = (layer.name, expert)

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


class GramSums:
    """Sums of products of rows, for every layer and way of storing its input."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str, str], tuple[Tensor, Tensor]] = {}

    def add(self, use: Use, scheme: str, inputs: Tensor | None, groups: int) -> None:
        """Add the rows of one call, with its input replaced by `inputs` where given; `groups` counts experts."""
        for rows in use.rows(inputs):
            own = torch.bmm(rows.transpose(1, 2), rows).double()
            if not bool(torch.isfinite(own.diagonal(dim1=1, dim2=2)).all()):
                raise InvalidInput(
                    f"the input of layer {use.layer!r} holds nan or infinite numbers: check the network's inputs"
                )
            gram, count = self._sums.get((use.layer, scheme), (None, None))
            if gram is None or count is None:
                whole = max(groups, len(own))
                gram = own.new_zeros(whole, *own.shape[1:])
                count = own.new_zeros(whole)
                self._sums[use.layer, scheme] = gram, count
            at = slice(use.group, use.group + len(own))
            gram[at] += own
            count[at] += rows.shape[1]

    def statistics(self) -> dict[tuple[str, str], InputStatistics]:
        """From layer and scheme to the sums; layers that no input reached are not there."""
        return {key: InputStatistics(gram, count) for key, (gram, count) in self._sums.items()}


def gather_statistics(
    model: nn.Module,
    batches: Iterable[object],
    layers: Sequence[Layer],
    roundings: Mapping[str, Mapping[str, InputRounding]] | None = None,
) -> dict[tuple[str, str], InputStatistics]:
    """Run a network on data and sum, for every layer, the products of what its weight is multiplied with.

    Parameters
    ----------
    model
        The network; it runs in eval mode and is given back as it was.
    batches
        As for `measure`; targets are not used, and positions that an ``attention_mask`` hides do not count.
    layers
        The layers.
    roundings
        For names of activation schemes and of layers what rounds the layer's input: then the sums are of rounded
        inputs, beside those of the inputs as they are.

    Returns
    -------
    statistics
        By the layer's name and that of the scheme, `FLOAT_INPUT` for inputs that stay float. A layer that is never
        multiplied, such as an embedding that only looks up, is not there.

    Raises
    ------
    InvalidInput
        When the model fails on a batch, or the input of a layer holds nan.
    """
    sums = GramSums()
    uses = uses_in(model)
    experts = {layer.name: layer.shape[0] if layer.kind == EXPERTS else 1 for layer in layers}
    mask: Tensor | None = None

    def see(use: Use) -> None:
        kept = counted(use, mask)
        sums.add(kept, FLOAT_INPUT, None, experts[use.layer])
        for scheme, own in (roundings or {}).items():
            if use.layer in own:
                of_tokens = has_tokens(uses[use.layer].module)
                sums.add(kept, scheme, own[use.layer].round(kept.inputs, of_tokens=of_tokens), experts[use.layer])

    with evaluating(model), torch.no_grad(), Watch(model, layers, see):
        for batch in as_batches(batches, model):
            mask = mask_of(batch)
            call(model, batch)
    return sums.statistics()


def mask_of(batch: Batch) -> Tensor | None:
    """Which positions of a batch are no padding, ``(size, tokens)``; None where nothing says so."""
    return None if isinstance(batch.inputs, Tensor) else batch.inputs.get(MASK)


def counted(use: Use, mask: Tensor | None) -> Use:
    """The call without positions of padding, where its input has the mask's samples and tokens."""
    if use.function is not LINEAR or mask is None or use.inputs.ndim != 3 or mask.shape != use.inputs.shape[:2]:
        return use
    return use.of(use.inputs[mask.to(use.inputs.device) != 0])
