"""Blocks of a network, run by themselves on inputs that were kept: what one weight does to a block's output."""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._pytree import tree_leaves, tree_map

from ..network.batches import call, evaluating
from ..network.weight_uses import MIXTURES, uses_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..layers import Layer
    from ..network.batch import Batch

_AT_A_TIME = 16  # samples of one call of a block
_KEPT = 256  # samples whose inputs are kept


@dataclass(frozen=True, eq=False)
class BlockRun:
    """A block with everything but one weight as it is in the float network.

    Attributes
    ----------
    name
        The block's name in the network.
    module
        A copy of it in eval mode; nothing of it is learned.
    parameter
        The name of the weight inside the block.
    calls
        What the block was called with, a few samples at a time: positional arguments and keywords.
    outputs
        The tensors of floating-point numbers that it gave, for each call.
    """

    name: str
    module: nn.Module
    parameter: str
    calls: Sequence[tuple[tuple[Any, ...], dict[str, Any]]]
    outputs: Sequence[tuple[Tensor, ...]]

    def error(self, weight: Tensor, at: int) -> Tensor:
        """The squared error of the block's output with another weight on call `at`: a scalar, differentiable."""
        args, kwargs = self.calls[at]
        made = _tensors(functional_call(self.module, {self.parameter: weight}, args, kwargs))
        return torch.stack(
            [(own - wanted).square().sum() for own, wanted in zip(made, self.outputs[at], strict=True)]
        ).sum()


class Blocks:
    """The blocks around the layers of a network, one held at a time.

    A block is the nearest module around a layer, other than the network itself, that holds more than one layer, is
    called exactly once a pass, and gives the same when it is called again.

    Parameters
    ----------
    model
        The float network; it is given back as it was.
    batches
        What it is run on; the inputs of the first few samples are kept.
    """

    def __init__(self, model: nn.Module, batches: Sequence[Batch]) -> None:
        self._model, self._pieces = model, list(_pieces(batches))
        self._uses = uses_in(model)
        self._called = self._once()
        self._held: BlockRun | None = None

    def of(self, layer: Layer) -> BlockRun | None:
        """The block around a layer; None where there is none, and where modules elsewhere use the same weight."""
        name = self._name_of(layer.name)
        if layer.ties or not name:
            return None
        inside = layer.name.removeprefix(name + ".")
        parameter = inside if self._uses[layer.name].kind in MIXTURES else f"{inside}.weight"
        if self._held is None or self._held.name != name:
            self._held = self._run(name, parameter)
        if not self._held.calls:
            return None
        return dataclasses.replace(self._held, parameter=parameter)

    def _name_of(self, layer: str) -> str:
        parts = layer.split(".")
        for count in range(len(parts) - 1, 0, -1):
            name = ".".join(parts[:count])
            if name in self._called and sum(each.startswith(name + ".") for each in self._uses) > 1:
                return name
        return ""

    def _once(self) -> set[str]:
        """The modules that are called exactly once with each piece."""
        names = {module: name for name, module in self._model.named_modules()}
        counts: dict[str, int] = {}

        def see(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: object) -> None:
            if _tensors((args, kwargs)) and _tensors(output):
                counts[names[module]] = counts.get(names[module], 0) + 1

        handles = [each.register_forward_hook(see, with_kwargs=True) for each in names]
        try:
            with evaluating(self._model), torch.no_grad():
                call(self._model, self._pieces[0].head(1))
        finally:
            for handle in handles:
                handle.remove()
        return {name for name, count in counts.items() if count == 1}

    def _run(self, name: str, parameter: str) -> BlockRun:
        """The block with its inputs and outputs; without any where it does not repeat itself."""
        calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
        outputs: list[tuple[Tensor, ...]] = []

        def see(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: object) -> None:
            calls.append(tree_map(_copied, (args, kwargs)))
            outputs.append(tuple(map(_copied, _tensors(output))))

        block = self._model.get_submodule(name)
        with evaluating(self._model), torch.no_grad():
            own = copy.deepcopy(block).requires_grad_(False)
            handle = block.register_forward_hook(see, with_kwargs=True)
            try:
                for piece in self._pieces:
                    call(self._model, piece)
            finally:
                handle.remove()
            run = BlockRun(name, own, parameter, calls, outputs)
            weight = own.get_parameter(parameter)
            precision = torch.finfo(weight.dtype).eps
            size = sum(float(each.square().sum()) for each in outputs[0])
            again = [float(run.error(weight, 0)) for _ in range(2)]
            same = len(calls) == len(self._pieces) and all(off <= precision * size for off in again)
        return run if same else dataclasses.replace(run, calls=[], outputs=[])


def _pieces(batches: Sequence[Batch]) -> Iterator[Batch]:
    """The first samples, a few at a time where batches can be cut."""
    left = _KEPT
    for batch in batches:
        if left <= 0:
            return
        if not isinstance(batch.inputs, Tensor):
            yield batch
            left -= batch.size
            continue
        for piece in torch.split(batch.inputs[:left], _AT_A_TIME):
            yield dataclasses.replace(batch, inputs=piece, targets=None, size=len(piece))
            left -= len(piece)


def _tensors(tree: object) -> tuple[Tensor, ...]:
    leaves = tree_leaves(vars(tree) if hasattr(tree, "last_hidden_state") else tree)
    return tuple(each for each in leaves if isinstance(each, Tensor) and each.is_floating_point())


def _copied(leaf: Any) -> Any:
    """A later operation of the network may write into a tensor that it was given."""
    return leaf.detach().clone() if isinstance(leaf, Tensor) else leaf
