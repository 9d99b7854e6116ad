"""Finds by running which module makes a tensor, and which modules and operations read it."""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ...errors import InvalidInput
from ...network.batches import call, evaluating
from ..inputs import input_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ...network.batch import Batch


class Reads(TorchDispatchMode):
    """Who reads which tensor in one pass of a network, and what the modules without children take and give.

    Attributes
    ----------
    calls
        How often each module was called.
    inputs, outputs
        What a module took and gave at its last call; modules that took or gave no tensor are not there.
    returned
        The tensors that the network gave back.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: Counter[nn.Module] = Counter()
        self.inputs: dict[nn.Module, Tensor] = {}
        self.outputs: dict[nn.Module, Tensor] = {}
        self.returned: list[Tensor] = []
        # By storage, so that reading a view counts; the tensors are held, so that no address is used again.
        self._readers: dict[int, tuple[Tensor, set[nn.Module | None]]] = {}
        self._inside: list[nn.Module] = []

    @classmethod
    def of(cls, model: nn.Module, batch: Batch) -> Reads:
        """Run a network on a batch and watch; it is given back as it was, and InvalidInput is raised if it fails."""
        reads = cls()
        with evaluating(model), contextlib.ExitStack() as hooks, torch.no_grad():
            for module in model.modules():
                if next(module.children(), None) is None:
                    hooks.callback(module.register_forward_pre_hook(reads._enter, with_kwargs=True).remove)
                    hooks.callback(module.register_forward_hook(reads._leave).remove)
            with reads:
                returned = call(model, batch)
        leaves = tree_leaves(vars(returned) if hasattr(returned, "logits") else returned)
        reads.returned = [each for each in leaves if isinstance(each, Tensor)]
        return reads

    def readers(self, tensor: Tensor) -> set[nn.Module | None]:
        """The modules without children that read a tensor or a view of it.

        None stands for whatever else did, the caller of the network included.
        """
        found = set(self._readers[_key(tensor)][1]) if _key(tensor) in self._readers else set()
        return {*found, None} if any(_key(tensor) == _key(each) for each in self.returned) else found

    def only_by(self, module: nn.Module, tensors: Iterable[Tensor | None]) -> bool:
        """Whether nothing but a module reads these tensors, its own parameters for instance."""
        return all(self.readers(each) <= {module} for each in tensors if each is not None)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Note what an operation reads, then run it."""
        reader = self._inside[-1] if self._inside else None
        for each in tree_leaves((args, kwargs)):
            if isinstance(each, Tensor):
                self._readers.setdefault(_key(each), (each, set()))[1].add(reader)
        return func(*args, **(kwargs or {}))

    def _enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.calls[module] += 1
        self._inside.append(module)
        inputs = input_of(args, kwargs)
        if inputs is not None:
            self.inputs[module] = inputs

    def _leave(self, module: nn.Module, args: tuple[Any, ...], output: object) -> None:
        self._inside.pop()
        if isinstance(output, Tensor):
            self.outputs[module] = output


def _key(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def replace_module(model: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Put a module in the place of another, wherever that is registered."""
    for parent in list(model.modules()):
        for name, child in list(parent._modules.items()):  # named_children gives a module once only
            if child is old:
                setattr(parent, name, new)


def has_hooks(module: nn.Module) -> bool:
    """Whether a user's hook looks at, or changes, what the module takes or gives."""
    return bool(module._forward_hooks or module._forward_pre_hooks)


def check_same(model: nn.Module, made: nn.Module, batches: Sequence[Batch], what: str) -> None:
    """Refuse a network that does not compute what another one does.

    Parameters
    ----------
    model, made
        The network, and what became of it.
    batches
        What both run on.
    what
        What was done, for the message.

    Raises
    ------
    InvalidInput
        When an output differs by more than the square root of its type's precision, as a share of the largest.
    """
    for batch in batches:
        given = []
        for network in (model, made):
            with evaluating(network), torch.no_grad():
                torch.manual_seed(0)
                returned = call(network, batch)
            leaves = tree_leaves(vars(returned) if hasattr(returned, "logits") else returned)
            given.append([each.double() for each in leaves if isinstance(each, Tensor) and each.is_floating_point()])
        precision = max((torch.finfo(each.dtype).eps for each in model.parameters()), default=0.0) ** 0.5
        for old, new in zip(*given, strict=True):
            off, size = float((old - new).abs().max()), float(old.abs().max())
            if not off <= precision * size:
                raise InvalidInput(
                    f"{what} changed the outputs of batch {batch.index} by {off:.3g}, where the largest is {size:.3g}: "
                    "the network does not do the same on every batch; leave this transformation out"
                )
