"""Finds the blocks of a network by its structure, and tries on a sample whether each can be run again by itself."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from ..batches import call, evaluating
from .alike import sparing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..batch import Batch


@dataclass(frozen=True, eq=False)
class Blocks:
    """The blocks of a network.

    Attributes
    ----------
    modules
        The blocks by name, in the order in which they run; none holds another.
    why
        Why there are none; empty where there are some.
    """

    modules: dict[str, nn.Module]
    why: str = ""


WHOLE = Blocks({})  # of a network that is not run in blocks


@dataclass(eq=False)
class _Seen:
    """What one run showed of a module that may be a block."""

    calls: int = 0
    order: int = 0
    obstacle: str = ""


@dataclass(eq=False)
class _Trial:
    seen: dict[nn.Module, _Seen] = field(default_factory=dict)
    count: int = 0
    again: bool = False  # while a module is run a second time


def find_blocks(model: nn.Module, batch: Batch) -> Blocks:
    """Find modules that run one after another, and whose outputs follow from their inputs alone.

    Candidates are the members of every ``nn.ModuleList`` and ``nn.Sequential`` that hold modules with parameters. The
    network is run once on the first sample, and every candidate a second time on what it was given. The outermost lists
    are taken whose members are called once each, in their order, change nothing that they are given, and give the same
    again.

    Parameters
    ----------
    model
        The network; it is given back as it was.
    batch
        A batch; the first sample is run.

    Returns
    -------
    blocks
        The blocks; none, with the reason, where no list is fit.
    """
    holders = _holders(model)
    lists = {name: _members(module, holders) for name, module in model.named_modules() if _is_list(module)}
    lists = {name: members for name, members in lists.items() if len(members) > 1}
    if not lists:
        return Blocks({}, "it has no ModuleList or Sequential with two members that hold others")
    trial = _tried(model, batch, [each for members in lists.values() for each in members.values()])
    chosen: dict[str, nn.Module] = {}
    reasons = []
    for name, members in lists.items():  # outer ones come first
        if any(name.startswith(f"{taken}.") for taken in chosen):
            continue
        obstacle = _obstacle([trial.seen[each] for each in members.values()])
        if obstacle:
            reasons.append(f"the members of {name or 'the network'!r} {obstacle}")
        else:
            chosen |= {f"{name}.{own}".lstrip("."): each for own, each in members.items()}
    if not chosen:
        return Blocks({}, "; ".join(reasons[:2]))
    return Blocks(dict(sorted(chosen.items(), key=lambda each: trial.seen[each[1]].order)))


@contextlib.contextmanager
def without_cache(model: nn.Module) -> Iterator[None]:
    """Keep models of transformers from collecting keys and values for tokens to come, which a second run would add.

    Without numbers nothing runs twice, and there they take branches without a cache that look at numbers.
    """
    if any(parameter.is_meta for parameter in model.parameters()):
        yield
        return
    configs = {id(config): config for each in model.modules() if (config := getattr(each, "config", None)) is not None}
    kept = [(config, config.use_cache) for config in configs.values() if getattr(config, "use_cache", None) is True]
    try:
        for config, _ in kept:
            config.use_cache = False
        yield
    finally:
        for config, before in kept:
            config.use_cache = before


def floats_in(tree: object) -> list[Tensor]:
    """The floating-point tensors in nested tuples, lists and dicts."""
    return [each for each in tree_leaves(tree) if isinstance(each, Tensor) and each.is_floating_point()]


def _is_list(module: nn.Module) -> bool:
    return isinstance(module, nn.ModuleList | nn.Sequential)


def _holders(model: nn.Module) -> set[nn.Module]:
    """The modules that hold others with parameters."""
    return {
        each for each in model.modules() if any(next(inner.parameters(), None) is not None for inner in each.children())
    }


def _members(module: nn.Module, holders: set[nn.Module]) -> dict[str, nn.Module]:
    return {name: each for name, each in module.named_children() if each in holders and not _is_list(each)} or {
        name: each for name, each in module.named_children() if each in holders and isinstance(each, nn.Sequential)
    }


def _tried(model: nn.Module, batch: Batch, candidates: list[nn.Module]) -> _Trial:
    trial = _Trial({each: _Seen() for each in candidates})

    def opened(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not trial.again:
            versions.append([(each, each._version) for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)])

    def closed(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: object) -> None:
        if trial.again:
            return
        found, before = trial.seen[module], versions.pop()
        found.calls, trial.count = found.calls + 1, trial.count + 1
        found.order = trial.count
        if any(each._version != version for each, version in before):
            found.obstacle = "change what they are given"
        elif not floats_in((args, kwargs)) or not floats_in(output):
            found.obstacle = "take or give no tensors of numbers"
        else:
            found.obstacle = "" if again(module, args, kwargs, output) else "give something else when they run again"

    def again(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: object) -> bool:
        if all(each.is_meta for each in floats_in(output)):
            return True  # there are no numbers to compare
        trial.again = True
        try:
            other = tree_leaves(module.forward(*args, **kwargs))
        finally:
            trial.again = False
        own = tree_leaves(output)
        return len(own) == len(other) and all(_same(*pair) for pair in zip(own, other, strict=True))

    versions: list[list[tuple[Tensor, int]]] = []
    with contextlib.ExitStack() as hooks, evaluating(model), without_cache(model), torch.no_grad():
        for each in dict.fromkeys(candidates):
            hooks.callback(each.register_forward_pre_hook(opened, with_kwargs=True).remove)
            hooks.callback(each.register_forward_hook(closed, with_kwargs=True).remove)
        with sparing(model) as spared:
            call(model, batch.head(1))
    for module, twin in spared.twins.items():
        if module in trial.seen and not trial.seen[module].calls:
            trial.seen[module] = trial.seen[twin]
    return trial


def _obstacle(members: list[_Seen]) -> str:
    if any(each.calls != 1 for each in members):
        return "are not called exactly once each"
    if [each.order for each in members] != sorted(each.order for each in members):
        return "are not called in their order"
    return next((each.obstacle for each in members if each.obstacle), "")


def _same(one: object, other: object) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return torch.equal(one, other)
    return type(one) is type(other)
