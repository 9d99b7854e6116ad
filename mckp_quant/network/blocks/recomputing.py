r"""Runs a network without keeping what its blocks compute, and computes a block again when its gradient arrives.

Of every block only the inputs are kept (Chen et al., 2016, *Training deep nets with sublinear memory cost*). Sums run
in the same order as through the whole graph, so that gradients are the same to the last bit.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


@dataclass(eq=False)
class Recomputing:
    """Holds the blocks of a network, and what a backward pass through them starts from.

    Attributes
    ----------
    modules
        The blocks.
    roots
        Tensors whose gradients are to be asked for, so that a backward pass reaches every block: hooks in the network
        add to them. While a block is computed again they are those inside it.
    first
        Whether a block runs now without a graph.
    """

    modules: Sequence[nn.Module]
    roots: list[Tensor] = field(default_factory=list)
    first: bool = False
    _on: bool = False

    @contextlib.contextmanager
    def attached(self) -> Iterator[None]:
        """Put the blocks' own ``forward`` aside meanwhile."""
        with contextlib.ExitStack() as restoring:
            for module in self.modules:
                restoring.callback(_restore, module, module.__dict__.get("forward"))
                module.__dict__["forward"] = self._replacement(module, module.forward)
            yield

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Run the network meanwhile with nothing kept of its blocks but their inputs."""
        self.roots = []
        if self.modules:
            # Blocks may be given nothing that is differentiated: this is.
            self.roots.append(torch.zeros((), requires_grad=True))
        self._on = bool(self.modules)
        try:
            yield
        finally:
            self._on = False

    def _replacement(self, module: nn.Module, forward: Callable[..., Any]) -> Callable[..., Any]:
        def replaced(*args: Any, **kwargs: Any) -> Any:
            if not self._on or self.first or not torch.is_grad_enabled():
                return forward(*args, **kwargs)
            leaves, spec = tree_flatten((args, kwargs))
            run = _Run(self, module, forward, leaves, spec)
            tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
            made = _Block.apply(run, self.roots[0], *tensors)  # type: ignore[no-untyped-call]
            return run.output(made)

        return replaced


@dataclass(eq=False)
class _Run:
    """One run of a block: what it was given, and how what it gives is put together."""

    held: Recomputing
    module: nn.Module
    forward: Callable[..., Any]
    leaves: list[Any]
    spec: Any
    others: list[Any] = field(default_factory=list)  # of the output, with None for each tensor
    made: Any = None

    def __post_init__(self) -> None:
        self.leaves = [_HERE if isinstance(leaf, Tensor) else leaf for leaf in self.leaves]

    def call(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Run the block on tensors, and give those of its output."""
        given = iter(tensors)
        args, kwargs = tree_unflatten([next(given) if leaf is _HERE else leaf for leaf in self.leaves], self.spec)
        found, self.made = tree_flatten(self.forward(*args, **kwargs))
        self.others = [_HERE if isinstance(each, Tensor) else each for each in found]
        return [each for each in found if isinstance(each, Tensor)]

    def output(self, tensors: Sequence[Tensor]) -> Any:
        """What the block gives, with these tensors."""
        given = iter(tensors)
        return tree_unflatten([next(given) if each is _HERE else each for each in self.others], self.made)

    def once(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Run the block without a graph."""
        self.held.first = True
        try:
            return self.call(tensors)
        finally:
            self.held.first = False

    def again(
        self, tensors: Sequence[Tensor], wanted: Sequence[bool], gradients: Sequence[Tensor | None]
    ) -> list[Tensor | None]:
        """Run the block with a graph, and send the gradients of its outputs back through it."""
        own = [each.detach().requires_grad_(need) for each, need in zip(tensors, wanted, strict=True)]
        outer, self.held.roots = self.held.roots, []
        try:
            with torch.enable_grad():
                made = self.call(own)
            inside = [*self.held.roots, *(each for each in self.module.parameters() if each.requires_grad)]
        finally:
            self.held.roots = outer
        inputs = [each for each in own if each.requires_grad]
        pairs = [
            (each, gradient)
            for each, gradient in zip(made, gradients, strict=True)
            if gradient is not None and each.requires_grad
        ]
        if not pairs or not (inputs or inside):
            return [None] * len(own)
        starts, along = zip(*pairs, strict=True)
        found = iter(torch.autograd.grad(starts, [*inputs, *inside], along, allow_unused=True))
        return [next(found) if each.requires_grad else None for each in own]


_HERE = object()  # stands for a tensor


class _Block(torch.autograd.Function):
    """A block as one operation."""

    @staticmethod
    def forward(ctx: Any, run: _Run, start: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.run = run
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors)  # refuses, when it is asked, tensors that were changed since
        made = run.once(tensors)
        ctx.mark_non_differentiable(*(each for each in made if not each.is_floating_point()))
        return tuple(made)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        found = ctx.run.again(ctx.saved_tensors, ctx.needs_input_grad[2:], gradients)
        return (None, None, *found)


def _restore(module: nn.Module, forward: object) -> None:
    if forward is None:
        del module.__dict__["forward"]
    else:
        module.__dict__["forward"] = forward
