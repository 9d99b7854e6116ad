"""Finds the activation tensors of a PyTorch model: their sizes, when they live, and which layers read them."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ..layers import Activation
from .batches import as_batch, call, evaluating
from .discovery import uses_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..layers import Layer

# What runtimes do while they write the result before it, beside operations that PyTorch tags as working entry by entry.
_FUSED = ("native_batch_norm", "_native_batch_norm_legit_no_training", "cudnn_batch_norm", "clone", "_to_copy")


def trace_activations(model: nn.Module, batch: object, layers: Sequence[Layer]) -> tuple[Activation, ...]:
    """Find the activation tensors and the steps between which they live, by watching one forward pass.

    A step is an operation that makes or changes a tensor. Operations that work entry by entry (activation functions,
    residual additions, batch norms, copies) need no memory of their own: where nothing else reads their input, their
    output stands in its place from the beginning, and where they are the last to read it, it is gone when their output
    is there. Weights, and tensors that hold no floating-point numbers, are no activations.

    Parameters
    ----------
    model
        The model, left as it was.
    batch
        One batch as for `measure`; the model runs on its first sample.
    layers
        The layers that may get a format: only these are readers, and what others read stays in floating point.

    Returns
    -------
    tensors
        Entries per sample, in the order in which they are made; the model's inputs first.

    Raises
    ------
    InvalidInput
        When the layers are another model's, or the model fails on the batch.
    """
    sample = as_batch(batch).head(1)
    uses = uses_of(model, layers)
    reader = {uses[name].module: layer.name for layer in layers for name in (layer.name, *layer.ties)}
    watch = _Watch([*model.parameters(), *model.buffers()])

    def reads(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        # Experts of a mixture take their tokens first, as layers take their input.
        for number in watch.numbers((*args, *kwargs.values()))[:1]:
            watch.tensors[number].readers[reader[module]] = None

    with evaluating(model), contextlib.ExitStack() as hooks, torch.no_grad():
        for module in reader:
            hooks.callback(module.register_forward_pre_hook(reads, with_kwargs=True).remove)
        with watch:
            output = call(model, sample)
        for number in watch.numbers(output):
            watch.tensors[number].kept = True
    lives = _lives(watch.tensors, watch.operations)
    return tuple(
        Activation(-(-each.elements // sample.size), each.first, each.last, tuple(each.readers)) for each in lives
    )


@dataclass(eq=False)
class _Tensor:
    """A storage that holds an activation; `kept` marks what the model gives back."""

    elements: int
    first: int
    last: int
    readers: dict[str, None] = field(default_factory=dict)
    reads: int = 0
    kept: bool = False
    made: bool = False


@dataclass(frozen=True)
class _Operation:
    """What an operation read and made, by numbers of tensors, and whether it works entry by entry."""

    read: tuple[int, ...]
    made: tuple[int, ...]
    entrywise: bool


class _Watch(TorchDispatchMode):
    """Notes which operation reads and makes which storage."""

    def __init__(self, weights: Iterable[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.tensors: list[_Tensor] = []
        self.operations: list[_Operation] = []
        # A weak reference keeps a storage's address from being used again, and not its memory.
        self._number: dict[int, int | None] = {}
        self._references: list[StorageWeakRef] = []
        for tensor in weights:
            self._register(tensor, None)

    def numbers(self, values: object) -> tuple[int, ...]:
        """The activations among nested values; one that no operation made is an input of the model."""
        found: dict[int, None] = {}
        for tensor in tree_leaves(values):
            if isinstance(tensor, Tensor) and tensor.is_floating_point() and tensor.numel():
                if self._key(tensor) not in self._number:
                    self._register(tensor, len(self.tensors))
                    self.tensors.append(_Tensor(tensor.numel(), 0, 0))
                number = self._number[self._key(tensor)]
                if number is not None:
                    found[number] = None
        return tuple(found)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operation and note what it reads and makes; views make nothing."""
        read = self.numbers((args, kwargs))
        result = func(*args, **(kwargs or {}))
        written = self.numbers(result)
        made = tuple(number for number in written if number not in read)
        if made or (written and func._schema.is_mutable):
            name = func.overloadpacket.__name__
            entrywise = torch.Tag.pointwise in func.tags or name in _FUSED
            self.operations.append(_Operation(read, made, entrywise))
        return result

    def _key(self, tensor: Tensor) -> int:
        return int(tensor.untyped_storage()._cdata)

    def _register(self, tensor: Tensor, number: int | None) -> None:
        self._references.append(StorageWeakRef(tensor.untyped_storage()))
        self._number[self._key(tensor)] = number


def _lives(tensors: Sequence[_Tensor], operations: Sequence[_Operation]) -> list[_Tensor]:
    """From what operations read and made to the steps between which each tensor takes memory."""
    for step, operation in enumerate(operations):
        for number in operation.made:
            tensors[number].first = tensors[number].last = step
            tensors[number].made = True
        for number in operation.read:
            tensors[number].last = step
            tensors[number].reads += 1
    for tensor in tensors:
        if tensor.kept:
            tensor.last = max(len(operations) - 1, 0)
    # What an operation gives beside its result is not kept where nothing reads it, such as the statistics of a norm.
    gone = {
        number
        for operation in operations
        for number in operation.made[1:]
        if not tensors[number].reads and not tensors[number].kept
    }
    for step, operation in enumerate(operations):
        if not operation.entrywise or not operation.made:
            continue
        output = tensors[operation.made[0]]
        for number in operation.read:
            tensor = tensors[number]
            if tensor.kept or tensor.last != step or tensor.elements != output.elements:
                continue
            if tensor.made and tensor.reads == 1:
                output.first = tensor.first
                output.readers = tensor.readers | output.readers
                gone.add(number)
                break
            if tensor.first < step:
                tensor.last = step - 1
                break
    return [tensor for number, tensor in enumerate(tensors) if number not in gone]
