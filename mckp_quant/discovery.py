"""Finds the layers of a PyTorch model: weights, ties, and multiply-accumulate operations from a real forward pass."""

from __future__ import annotations

import contextlib
import logging
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from .batches import as_batch, call, evaluating
from .errors import InvalidInput, unknown
from .layers import Layer

if TYPE_CHECKING:
    from collections.abc import Iterable

logger = logging.getLogger(__name__)

KINDS: dict[type[nn.Module], str] = {
    nn.Conv1d: "conv1d",
    nn.Conv2d: "conv2d",
    nn.Conv3d: "conv3d",
    nn.ConvTranspose1d: "conv_transpose1d",
    nn.ConvTranspose2d: "conv_transpose2d",
    nn.ConvTranspose3d: "conv_transpose3d",
    nn.Linear: "linear",
    nn.Embedding: "embedding",
}


def discover(model: nn.Module, batch: object) -> tuple[Layer, ...]:
    """Find every weight that can get a format of its own.

    Subclasses of the layers in `KINDS` count as these. Modules that share a weight tensor are one layer. The attention
    projections inside ``nn.MultiheadAttention`` are not modules that are called: they stay in floating point, which is
    logged as a warning.

    Parameters
    ----------
    model
        The model, left as it was.
    batch
        One batch as for `measure`. The model runs on its first sample, in eval mode and without gradients, to count
        operations; what depends on the input's size is counted at this size.

    Returns
    -------
    layers
        In the order in which the model registers them. A module that the forward pass never calls has ``macs = 0``
        (logged), and so have embeddings, which only look up.

    Raises
    ------
    InvalidInput
        When the model has nothing to quantise, holds a recurrent layer, or fails on the batch.
    """
    names = _weight_names(model)
    found = {name: model.get_submodule(name) for group in names for name in group}
    macs: Counter[nn.Module] = Counter()
    calls: Counter[nn.Module] = Counter()

    def count(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        calls[module] += 1
        if isinstance(output, Tensor):
            macs[module] += _operations(module, args[0] if args else kwargs["input"], output)

    with evaluating(model), contextlib.ExitStack() as hooks, torch.no_grad():
        for module in set(found.values()):
            hooks.callback(module.register_forward_hook(count, with_kwargs=True).remove)
        call(model, as_batch(batch).head(1))

    layers = []
    for first, *ties in names:
        users = {found[name] for name in (first, *ties)}
        if not any(calls[module] or isinstance(module, nn.Embedding) for module in users):
            logger.warning("layer %r is never called as a module: its operations are counted as 0", first)
        weight = weight_of(found[first])
        layers.append(
            Layer(
                name=first,
                kind=kind_of(found[first]),
                shape=tuple(weight.shape),
                channels=_channels(found[first]),
                macs=sum(macs[module] for module in users),
                ties=tuple(ties),
            )
        )
    return tuple(layers)


def modules(model: nn.Module, layers: Iterable[Layer]) -> dict[str, nn.Module]:
    """Look up the modules that use the layers' weights.

    Parameters
    ----------
    model
        The model in which the layers were found, or a copy of it.
    layers
        The layers.

    Returns
    -------
    modules
        By name: for each layer its own name and then those of its ties.

    Raises
    ------
    InvalidInput
        When the model has no module of a name, or its weight has another shape: the layers are another model's.
    """
    known = dict(model.named_modules(remove_duplicate=False))
    found = {}
    for layer in layers:
        for name in (layer.name, *layer.ties):
            if name not in known:
                raise unknown("layer", name, [entry for entry, module in known.items() if is_layer(module)])
            shape = tuple(weight_of(known[name]).shape) if is_layer(known[name]) else None
            if shape != layer.shape:
                raise InvalidInput(
                    f"layer {name!r} has the weight shape {layer.shape}, but in this model it is "
                    f"{'no layer with a weight' if shape is None else shape}: the layers are those of another model"
                )
            found[name] = known[name]
    return found


def is_layer(module: nn.Module) -> bool:
    """Whether the module is of a kind that can be quantised."""
    return isinstance(module, tuple(KINDS))


def kind_of(module: nn.Module) -> str:
    """Give the `Layer.kind` of a module for which `is_layer` is true."""
    return next(kind for base, kind in KINDS.items() if isinstance(module, base))


def weight_of(module: nn.Module) -> nn.Parameter:
    """Give the weight parameter of a module for which `is_layer` is true."""
    weight = module.weight
    if not isinstance(weight, nn.Parameter):
        raise InvalidInput(
            f"the weight of a {type(module).__name__} is a {type(weight).__name__}, not a parameter: remove "
            "parametrisations and weight norms before quantising"
        )
    return weight


def _weight_names(model: nn.Module) -> list[list[str]]:
    """Names of the modules that use each weight, in registration order."""
    held = set()
    for name, module in model.named_modules():
        if isinstance(module, nn.RNNBase | nn.RNNCellBase):
            where = repr(name) if name else "the model itself"
            raise InvalidInput(
                f"{where} is a {type(module).__name__}: recurrent layers cannot be quantised yet, "
                "and their weights would silently stay in floating point"
            )
        if isinstance(module, nn.MultiheadAttention):
            logger.warning("the projections of %r (MultiheadAttention) stay in floating point", name)
            held |= set(module.modules())
    names: defaultdict[object, list[str]] = defaultdict(list)
    for name, module in model.named_modules(remove_duplicate=False):
        if is_layer(module) and module not in held:
            names[_storage(weight_of(module))].append(name)
    if not names:
        raise InvalidInput(
            f"{type(model).__name__} has nothing to quantise: it holds no {', '.join(base.__name__ for base in KINDS)}"
        )
    return list(names.values())


def _storage(weight: Tensor) -> object:
    """Equal for two weights exactly if they are the same numbers in memory."""
    if weight.is_meta or not weight.numel():
        return id(weight)
    return (weight.device, weight.data_ptr(), weight.dtype, tuple(weight.shape), weight.stride())


def _channels(module: nn.Module) -> int:
    if isinstance(module, nn.modules.conv._ConvNd):
        return module.out_channels
    return int(weight_of(module).shape[0])


def _operations(module: nn.Module, inputs: Tensor, output: Tensor) -> int:
    """Multiply-accumulate operations of one call."""
    if isinstance(module, nn.Embedding):
        return 0
    # Each output entry (of a transposed convolution: input entry) meets all weights of its channel once.
    per_entry = weight_of(module)[0].numel()
    transposed = isinstance(module, nn.modules.conv._ConvTransposeNd)
    return (inputs if transposed else output).numel() * per_entry
