"""Networks inside of what compiles or spreads them, so that names are those of the network that somebody wrote."""

from __future__ import annotations

import copy
from typing import Any

from torch import nn

_COMPILED = "OptimizedModule"  # of torch.compile, whose package takes seconds to import


def unwrapped(model: nn.Module) -> nn.Module:
    """A network without the modules by which ``torch.compile`` and ``DataParallel`` wrap it, or parts of it.

    Parameters
    ----------
    model
        The network. Its layers and parameters are not copied.

    Returns
    -------
    model
        The network itself where nothing is wrapped.
    """
    given: object = model  # what is no network is refused where it is used, with the name of the argument
    return _plain(model, {}) if isinstance(given, nn.Module) else model


def _plain(model: nn.Module, known: dict[nn.Module, nn.Module]) -> nn.Module:
    if model in known:
        return known[model]
    inner = _inner(model)
    if inner is not None:
        known[model] = _plain(inner, known)
        return known[model]
    known[model] = model
    children = {name: _plain(child, known) for name, child in model._modules.items() if child is not None}
    if any(child is not model._modules[name] for name, child in children.items()):
        made: Any = copy.copy(model)
        made._modules = {**model._modules, **children}
        known[model] = made
    return known[model]


def _inner(model: nn.Module) -> nn.Module | None:
    if type(model).__name__ == _COMPILED:
        found = getattr(model, "_orig_mod", None)
    elif isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
        found = model.module
    else:
        return None
    return found if isinstance(found, nn.Module) else None
