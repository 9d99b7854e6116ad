"""What a network keeps for its backward pass, and how many operations it takes: counted without computing it."""

from __future__ import annotations

import contextlib
import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from ...network.batches import call, evaluating, forward
from ...network.blocks.alike import sparing
from ...network.blocks.finding import without_cache
from ...network.logits import heads_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ...network.batch import Batch


@dataclass(frozen=True)
class Graph:
    """What one batch leaves for its backward pass, in bytes.

    Attributes
    ----------
    outside
        Of what is in no block.
    blocks
        Of each block.
    inputs
        What blocks are given, and is kept where they are computed again.
    logits
        Of all heads, in float32 at least.
    flops
        Floating-point operations of the forward pass.
    """

    outside: int
    blocks: tuple[int, ...]
    inputs: int
    logits: int
    flops: int

    @property
    def whole(self) -> int:
        """All that is kept where nothing is computed again."""
        return self.outside + sum(self.blocks) + self.inputs

    @property
    def streamed(self) -> int:
        """The most that is kept at any time where blocks are computed again."""
        return self.outside + self.inputs + max(self.blocks, default=0)


def graph_of(
    model: nn.Module, batch: Batch, take: Callable[..., object] | None, blocks: Mapping[str, nn.Module]
) -> Graph:
    """Count what a batch keeps.

    Parameters
    ----------
    model
        The network; it is given back as it was. A copy without numbers runs in its place, where there can be one; else
        the network itself runs on one sample, and the rest is taken to be like it.
    batch
        The batch.
    take
        As in `Outputs`.
    blocks
        Its blocks by name.

    Returns
    -------
    graph
        What is kept.
    """
    shapes = _without_numbers(model)
    if shapes is not None:
        with contextlib.suppress(Exception):  # a network may look at numbers, which its copy does not have
            return _counted(shapes, batch, take, {shapes.get_submodule(name) for name in blocks})
    one = _apart(batch.head(1))
    found = _counted(model, one, take, set(blocks.values()))
    times = -(-batch.size // one.size)
    return replace(
        found,
        outside=times * found.outside,
        blocks=tuple(times * each for each in found.blocks),
        inputs=times * found.inputs,
        logits=times * found.logits,
        flops=times * found.flops,
    )


def _without_numbers(model: nn.Module) -> nn.Module | None:
    """A copy on the meta device; None where the network cannot be copied."""
    if any(parameter.is_meta for parameter in model.parameters()):
        return model
    memo: dict[int, Any] = {
        id(each): nn.Parameter(each.detach().to("meta"), requires_grad=False) for each in model.parameters()
    }
    memo |= {id(each): each.detach().to("meta") for each in model.buffers()}
    try:
        return copy.deepcopy(model, memo)
    except Exception:  # noqa: BLE001  whatever a module of the user's own raises
        return None


def _apart(batch: Batch) -> Batch:
    """The batch in memory of its own, which is counted: that of a larger one it may be cut from is not."""
    if isinstance(batch.inputs, Tensor):
        return replace(batch, inputs=batch.inputs.clone())
    return replace(batch, inputs={name: each.clone() for name, each in batch.inputs.items()})


def _counted(model: nn.Module, batch: Batch, take: Callable[..., object] | None, blocks: set[nn.Module]) -> Graph:
    own = {_place(tensor) for tensor in [*model.parameters(), *model.buffers()]}
    kept: dict[int, tuple[int, nn.Module | None, Any]] = {}
    inputs: dict[int, tuple[int, Any]] = {}
    within: list[nn.Module] = []
    flops: dict[nn.Module, int] = {}

    def note(tensor: Tensor) -> Tensor:
        place = _place(tensor)
        if place not in own and place not in kept:
            # Held, so that no other gets its place.
            kept[place] = (tensor.untyped_storage().nbytes(), within[0] if within else None, tensor)
        return tensor

    def opened(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        within.append(module)
        for each in tree_leaves((args, kwargs)):
            if isinstance(each, Tensor):
                inputs[_place(each)] = (each.untyped_storage().nbytes(), each)

    def closed(module: nn.Module, args: tuple[Any, ...], output: object) -> None:
        within.pop()

    def begun(module: nn.Module, args: tuple[Any, ...]) -> None:
        flops[module] = -counter.get_total_flops()

    def done(module: nn.Module, args: tuple[Any, ...], output: object) -> None:
        flops[module] += counter.get_total_flops()

    with contextlib.ExitStack() as stack:
        stack.enter_context(evaluating(model))
        stack.enter_context(without_cache(model))
        with (counter := FlopCounterMode(display=False)), torch.no_grad(), contextlib.ExitStack() as counting:
            for module in blocks:
                counting.callback(module.register_forward_pre_hook(begun).remove)
                counting.callback(module.register_forward_hook(done).remove)
            with sparing(model) as spared:
                call(model, batch)
        total = counter.get_total_flops() + sum(flops[spared.twins[each]] for each in blocks if each in spared.twins)
        for module in blocks:
            stack.callback(module.register_forward_pre_hook(opened, with_kwargs=True).remove)
            stack.callback(module.register_forward_hook(closed).remove)
        stack.enter_context(torch.enable_grad())
        for parameter in model.parameters():
            parameter.requires_grad_(parameter.is_floating_point())
        stack.enter_context(torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor))
        with sparing(model) as spared:
            heads = heads_of(forward(model, batch, take))
    found: dict[nn.Module | None, int] = dict.fromkeys([None, *blocks], 0)
    for place, (size, inside, _) in kept.items():
        found[inside] += 0 if place in inputs else size
    found |= {each: found[spared.twins[each]] for each in blocks if each in spared.twins}
    return Graph(
        outside=found.pop(None),
        blocks=tuple(found.values()),
        inputs=sum(size for size, _ in inputs.values()),
        logits=sum(own.numel() * max(4, own.element_size()) for own in heads),
        flops=total,
    )


def _place(tensor: Tensor) -> int:
    place: int = tensor.untyped_storage()._cdata
    return place
