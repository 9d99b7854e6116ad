"""Spares a network without numbers from running blocks that are alike: what one of them shows holds for all."""

from __future__ import annotations

import contextlib
import functools
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_POSITIONS = ("layer_idx", "layer_index", "layer_id", "layer_number", "block_idx")  # by which caches file
_PLAIN = (bool, int, float, str, bytes, torch.dtype, type(None))


@dataclass(frozen=True, eq=False)
class Spared:
    """The modules that did not run because another like them had.

    Attributes
    ----------
    twins
        For each such module, also those inside of blocks, the one that ran in its place.
    """

    twins: dict[nn.Module, nn.Module] = field(default_factory=dict)


@dataclass(eq=False)
class _Run:
    """What the block that stands for others was given and what it made."""

    given: object = None
    inputs: list[Any] = field(default_factory=list)
    outputs: list[Any] = field(default_factory=list)
    form: Any = None


@contextlib.contextmanager
def sparing(model: nn.Module) -> Iterator[Spared]:
    """Let one block run for all that are alike, where a network has shapes only.

    Members of one ``nn.ModuleList`` or ``nn.Sequential`` are alike where they have the same modules, shapes, types and
    plain attributes, but for ``layer_idx`` and the like, and share no parameters. The first two run, because the first
    may make what later ones use again; the others give tensors of the shapes that the second gave, if they are given
    what it was given. Hooks of such a block are called, those inside of it are not.

    Parameters
    ----------
    model
        The network; one that holds numbers runs as ever. It is given back as it was.

    Yields
    ------
    spared
        Filled while the network runs.
    """
    spared = Spared()
    with contextlib.ExitStack() as stack:
        for _, leader, *others in _alike(model):
            run = _Run()
            stack.callback(leader.__dict__.pop, "forward")
            leader.__dict__["forward"] = _recorded(leader.forward, run)
            for each in others:
                stack.callback(each.__dict__.pop, "forward")
                each.__dict__["forward"] = _replayed(each, leader, run, spared)
        yield spared


def _recorded(forward: Callable[..., Any], run: _Run) -> Callable[..., Any]:
    def recorded(*args: Any, **kwargs: Any) -> Any:
        output = forward(*args, **kwargs)
        run.given, run.inputs = _signature(args, kwargs)
        run.outputs, run.form = tree_flatten(output)
        return output

    return recorded


def _replayed(module: nn.Module, leader: nn.Module, run: _Run, spared: Spared) -> Callable[..., Any]:
    forward = module.forward

    def replayed(*args: Any, **kwargs: Any) -> Any:
        given, inputs = _signature(args, kwargs)
        if given != run.given:
            return forward(*args, **kwargs)
        spared.twins.update(zip(module.modules(), leader.modules(), strict=True))
        handed = {id(before): now for before, now in zip(run.inputs, inputs, strict=True)}
        return tree_unflatten([handed.get(id(each), _fresh(each)) for each in run.outputs], run.form)

    return replayed


def _fresh(value: Any) -> Any:
    """A tensor like this one in a place of its own, which a backward pass would reach where it reaches this one."""
    if not isinstance(value, Tensor):
        return value
    made = torch.empty_like(value, requires_grad=value.requires_grad)
    return made.clone() if made.requires_grad else made  # what follows may change it, which no leaf allows


def _signature(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[object, list[Any]]:
    """Equal for arguments that differ in the places of their tensors only; and the arguments one by one."""
    leaves, form = tree_flatten((args, kwargs))
    seen = [
        (tuple(each.shape), each.stride(), each.dtype, each.device, each.requires_grad)
        if isinstance(each, Tensor)
        else _plain(each)
        for each in leaves
    ]
    return (form, seen), leaves


def _alike(model: nn.Module) -> list[list[nn.Module]]:
    """Groups of three and more members of outermost lists that are alike."""
    parameters = list(model.parameters())
    if not parameters or not all(each.is_meta for each in parameters):
        return []
    every = [module for _, module in model.named_modules(remove_duplicate=False)]
    users = Counter(id(each) for module in every for each in module._parameters.values() if each is not None)
    groups: defaultdict[object, list[nn.Module]] = defaultdict(list)
    taken: list[str] = []
    for name, module in model.named_modules():
        if not isinstance(module, nn.ModuleList | nn.Sequential) or any(name.startswith(f"{own}.") for own in taken):
            continue
        members = [(index, each) for index, each in enumerate(module) if next(each.children(), None) is not None]
        if len({each for _, each in members}) < len(members):
            continue
        taken += [name] * bool(members)
        for index, each in members:
            free = all(users[id(own)] == 1 for own in each.parameters())
            if free and not any("forward" in vars(own) for own in each.modules()):
                groups[name, _looks(each, index)].append(each)
    return [group for group in groups.values() if len(group) > 2]  # two run


def _looks(block: nn.Module, index: int) -> object:
    """Equal for members of a list whose forward passes do the same to shapes."""
    return tuple(
        (
            name,
            type(module),
            tuple(
                (key, "its position" if key in _POSITIONS and value == index else _plain(value))
                for key, value in sorted(vars(module).items())
                if isinstance(value, _PLAIN) or not key.startswith("_")
            ),
            tuple(
                (key, None if each is None else (tuple(each.shape), each.dtype))
                for own in (module._parameters, module._buffers)
                for key, each in own.items()
            ),
        )
        for name, module in block.named_modules()
    )


def _plain(value: object) -> object:
    """What tells a value from others: plain ones themselves, others by their place in memory."""
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    if isinstance(value, functools.partial):
        return (id(value.func), _plain(value.args), _plain(tuple(sorted(value.keywords.items()))))
    return (type(value), value) if isinstance(value, _PLAIN) else id(value)
