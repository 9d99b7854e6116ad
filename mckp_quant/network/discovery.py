"""Finds the layers of a PyTorch model: weights, ties, and multiply-accumulate operations from a real forward pass."""

from __future__ import annotations

import contextlib
import logging
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..errors import InvalidInput, unknown
from ..layers import Layer
from .batches import as_batch, call, evaluating
from .blocks.alike import sparing
from .checkpoints.plain_names import unwrapped
from .weight_uses import KINDS, WeightUse, check_overlaps, has_two_dimensions, is_layer, left_out, uses_in

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

logger = logging.getLogger(__name__)

__all__ = ["KINDS", "discover", "is_layer", "kind_of", "modules", "uses_of", "weight_of"]


@dataclass(frozen=True)
class Outside:
    """The weights of a network that are in no layer, whatever is asked: they stay in floating point.

    Attributes
    ----------
    names
        The parameters, of two and more dimensions.
    count
        How many numbers they hold.
    weights
        How many numbers all parameters of two and more dimensions hold.
    """

    names: tuple[str, ...]
    count: int
    weights: int

    @classmethod
    def of(cls, model: nn.Module, layers: Iterable[Layer] | None = None) -> Outside:
        """Those of a network; with `layers` also what is in none of these."""
        uses = uses_of(model, layers) if layers is not None else uses_in(unwrapped(model))
        names = left_out(unwrapped(model), uses)
        named = {name: each.numel() for name, each in unwrapped(model).named_parameters() if has_two_dimensions(each)}
        return cls(tuple(names), sum(named[name] for name in names), sum(named.values()))

    @property
    def share(self) -> float:
        """The part of the weights that they are."""
        return self.count / self.weights if self.weights else 0.0

    @property
    def named(self) -> str:
        """The first three."""
        return ", ".join(repr(name) for name in self.names[:3]) + (", ..." if len(self.names) > 3 else "")

    def __str__(self) -> str:
        """How much they are."""
        return f"{self.share:.1%} of the weights ({self.count:,} of {self.weights:,})"


def discover(model: nn.Module, batch: object, names: Collection[str] | None = None) -> tuple[Layer, ...]:
    """Find every weight that can get a format of its own.

    Subclasses of the layers in `KINDS` count as these. Modules that share a weight tensor are one layer. The weights of
    all experts of a mixture, where a model holds them as one ``(experts, out, in)`` tensor, are one layer too, because
    runtimes take one format for all of them. The attention projections inside ``nn.MultiheadAttention``, which are
    not modules that are called, routers and other parameters that no layer uses stay in floating point, which is
    logged as a warning.

    Parameters
    ----------
    model
        The model, left as it was. On the meta device it will do: then the batch has to be there too.
    batch
        One batch as for `measure`. The model runs on its first sample (or on all, see `Batch.head`), in eval mode and
        without gradients, to count operations; what depends on the input's size is counted at this size.
    names
        The layers that matter: what cannot be quantised elsewhere in the model is left as it is. None for all.

    Returns
    -------
    layers
        All that can be quantised, in the order in which the model registers them. A module that the forward pass never
        calls has ``macs = 0`` (logged), and so have embeddings, which only look up.

    Raises
    ------
    InvalidInput
        When the model has nothing to quantise, holds weights that overlap, or fails on the batch; when a layer that
        matters is recurrent, computes its weight, or is quantised already.
    """
    model = unwrapped(model)
    uses = _uses(model, names)
    groups = _shared(uses)
    macs: Counter[WeightUse] = Counter()
    called: set[nn.Module] = set()

    def count(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        called.add(module)
        for use in by_module[module]:
            macs[use] += use.operations(args, kwargs, output)

    by_module: defaultdict[nn.Module, set[WeightUse]] = defaultdict(set)
    for use in uses.values():
        by_module[use.module].add(use)
    sample = as_batch(batch).head(1)
    with evaluating(model), contextlib.ExitStack() as hooks, torch.no_grad():
        for module in by_module:
            hooks.callback(module.register_forward_hook(count, with_kwargs=True).remove)
        with sparing(model) as spared:
            call(model, sample)
    for module, twin in spared.twins.items():
        called |= {module} if twin in called else set()
        for use in by_module.get(module, ()):
            macs[use] = macs[replace(use, module=twin)]

    layers = []
    for first, *ties in groups:
        users = {uses[name] for name in (first, *ties)}
        if not any(use.module in called or isinstance(use.module, nn.Embedding) for use in users):
            logger.warning("the first sample never calls layer %r as a module: its operations there count as 0", first)
        layers.append(
            Layer(
                name=first,
                kind=uses[first].kind,
                shape=tuple(uses[first].weight.shape),
                channels=uses[first].channels,
                macs=-(-sum(macs[use] for use in users) // sample.size),
                ties=tuple(ties),
            )
        )
    return tuple(layers)


def uses_of(model: nn.Module, layers: Iterable[Layer]) -> dict[str, WeightUse]:
    """Look up the modules and parameters of layers.

    Parameters
    ----------
    model
        The model in which the layers were found, or a copy of it.
    layers
        The layers.

    Returns
    -------
    uses
        By name: for each layer its own name and then those of its ties.

    Raises
    ------
    InvalidInput
        When the model has no weight of a name, or it has another shape: the layers are another model's.
    """
    known = uses_in(model)
    every = dict(model.named_modules(remove_duplicate=False))
    found = {}
    for layer in layers:
        for name in (layer.name, *layer.ties):
            if name not in known and name not in every:
                raise unknown("layer", name, known)
            if name in known and known[name].obstacle:
                raise InvalidInput(f"the weight of layer {name!r} {known[name].obstacle}")
            shape = tuple(known[name].weight.shape) if name in known else None
            if shape != layer.shape:
                raise InvalidInput(
                    f"layer {name!r} has the weight shape {layer.shape}, but in this model it is "
                    f"{'no layer with a weight' if shape is None else shape}: the layers are those of another model"
                )
            found[name] = known[name]
    return found


def modules(model: nn.Module, layers: Iterable[Layer]) -> dict[str, nn.Module]:
    """Give the modules of `uses_of`."""
    return {name: use.module for name, use in uses_of(model, layers).items()}


def kind_of(module: nn.Module) -> str:
    """Give the `Layer.kind` of a module for which `is_layer` is true."""
    return WeightUse(module).kind


def weight_of(module: nn.Module) -> nn.Parameter:
    """Give the weight parameter of a module for which `is_layer` is true."""
    return WeightUse(module).weight


def _uses(model: nn.Module, names: Collection[str] | None) -> dict[str, WeightUse]:
    """All uses of weights that can be quantised; refuses what matters and cannot, and logs what stays in float."""
    for name, module in model.named_modules():
        if isinstance(module, nn.RNNBase | nn.RNNCellBase) and (names is None or name in names):
            where = repr(name) if name else "the model itself"
            raise InvalidInput(
                f"{where} is a {type(module).__name__}: recurrent layers cannot be quantised yet, "
                "and their weights would silently stay in floating point; name the layers to quantise with layers="
            )
        if isinstance(module, nn.MultiheadAttention):
            logger.warning("the projections of %r (MultiheadAttention) stay in floating point", name)
    every = uses_in(model)
    if not every:
        raise InvalidInput(
            f"{type(model).__name__} has nothing to quantise: it holds no {', '.join(base.__name__ for base in KINDS)}"
        )
    uses = {}
    for name, use in every.items():
        if not use.obstacle:
            uses[name] = use
        elif names is None or name in names:
            raise InvalidInput(f"the weight of layer {name!r} ({type(use.module).__name__}) {use.obstacle}")
    left = left_out(model, every)
    if left:
        outside = Outside.of(model)
        logger.warning(
            "%d parameters that no layer uses stay in floating point: %s; %s",
            len(left),
            outside.named,
            outside,
        )
    return uses


def _shared(uses: dict[str, WeightUse]) -> list[list[str]]:
    """Names of the uses of each weight, in registration order."""
    names: defaultdict[object, list[str]] = defaultdict(list)
    for name, use in uses.items():
        names[_storage(use.weight)].append(name)
    check_overlaps({group[0]: uses[group[0]].weight for group in names.values()})
    return list(names.values())


def _storage(weight: Tensor) -> object:
    """Equal for two weights exactly if they are the same numbers in memory."""
    if weight.is_meta or not weight.numel():
        return id(weight)
    return (weight.device, weight.data_ptr(), weight.dtype, tuple(weight.shape), weight.stride())
