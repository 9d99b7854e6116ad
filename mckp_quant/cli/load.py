"""Loads the model and the batches that the user names on the command line; the only module here that needs torch."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..common.checks import check_count
from ..common.npz import npz_names, read_npz_arrays
from ..common.own_code import blaming, named
from ..common.packages import require
from ..errors import InvalidInput
from .console import note

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor, nn

    from ..network.outputs import Outputs


def load_model(spec: str) -> nn.Module:
    """Call the user's function that makes the network.

    Parameters
    ----------
    spec
        ``package.module:function`` or ``path/to/file.py:function``.

    Returns
    -------
    model
        What the function returned.

    Raises
    ------
    InvalidInput
        When the function cannot be found, fails, or returns anything but a torch.nn.Module.
    PackageMissing
        When torch is not installed.
    """
    torch = require_torch()
    made = _call("model", spec, _check_maker)
    if not isinstance(made, torch.nn.Module):
        weights = (
            ", which holds weights alone: make the network, load_state_dict them" if isinstance(made, Mapping) else ""
        )
        raise InvalidInput(
            f"model {spec!r} gave a {type(made).__name__}{weights}: the function must return a torch.nn.Module"
        )
    model: nn.Module = made
    return model


class Stream:
    """Batches that a user's own code makes, taken one by one: what fails on the way is about that code.

    Parameters
    ----------
    spec
        Where the code is.
    made
        What it returned.
    """

    def __init__(self, spec: str, made: Iterable[Any]) -> None:
        self._spec = spec
        self._made = made

    def __iter__(self) -> Iterator[Any]:
        """Make the batches."""
        with blaming("data", self._spec):
            yield from self._made

    def __len__(self) -> int:
        """How many there are; raises TypeError where the code does not say."""
        return len(self._made)  # type: ignore[arg-type]


def stream_batches(spec: str, batch_size: int) -> Iterable[Any]:
    """Do what `load_batches` does, but leave batches that the user's function makes one by one unmade."""
    require_torch()
    if spec.endswith(".npz"):
        return _from_npz(Path(spec), batch_size)
    return Stream(spec, _made_batches(spec))


def load_batches(spec: str, batch_size: int) -> list[Any]:
    """Call the user's function that gives the data, or read it from a file.

    Parameters
    ----------
    spec
        ``package.module:function``, ``path/to/file.py:function``, or an ``.npz`` file with ``inputs`` and optionally
        ``targets``.
    batch_size
        Samples in a batch, where the data comes from a file.

    Returns
    -------
    batches
        What the function gave, as a list.

    Raises
    ------
    InvalidInput
        When the function or file cannot be found, fails, or gives no batches.
    PackageMissing
        When torch is not installed.
    """
    require_torch()
    if spec.endswith(".npz"):
        return _from_npz(Path(spec), batch_size)
    made = _made_batches(spec)
    with blaming("data", spec):
        return list(made)


def _made_batches(spec: str) -> Iterable[Any]:
    made = _call("data", spec)
    if not isinstance(made, Iterable) or isinstance(made, (dict, str, bytes)) or hasattr(made, "shape"):
        raise InvalidInput(
            f"data {spec!r} gave a {type(made).__name__}: the function must return batches, such as a list of tensors, "
            "of (inputs, targets), or a DataLoader"
        )
    return made


def require_torch() -> Any:
    """Import torch; raises PackageMissing, with what to type, where it is not installed."""
    return require("torch", "torch", without="solve and compare work on a table without it")


def load_outputs(spec: str) -> Outputs:
    """Call the user's function that says what the network's outputs mean; raises InvalidInput as `load_model` does."""
    require_torch()
    from ..network.outputs import Outputs

    made = _call("outputs", spec)
    if not isinstance(made, Outputs):
        raise InvalidInput(f"outputs {spec!r} gave a {type(made).__name__}: the function must return an Outputs")
    return made


def load_metric(spec: str) -> Callable[..., Any]:
    """Find the user's function of logits and targets; raises InvalidInput where there is none of the name."""
    require_torch()
    return named("metric", spec)


def _check_maker(spec: str, function: Any) -> None:
    """Refuse a class, and say where arguments are left at their defaults: both often mean random weights."""
    if isinstance(function, type):
        raise InvalidInput(
            f"model {spec!r} is a class, which would be made with random weights: name a function that makes the "
            "network and loads its weights"
        )
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # built in: it says nothing of its parameters
        return
    named = [each for each in parameters if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]
    needed = [each.name for each in named if each.default is each.empty]
    if needed:
        raise InvalidInput(
            f"model {spec!r} needs the arguments {', '.join(needed)}, and is called without any: name a function "
            "without arguments that makes the network and loads its weights"
        )
    if named:
        left = ", ".join(f"{each.name}={each.default!r}" for each in named)
        note(f"model {spec!r} is called with {left}: check that these are the trained weights")


def _call(kind: str, spec: str, check: Callable[[str, Any], None] | None = None) -> object:
    function = named(kind, spec)
    if check is not None:
        check(spec, function)
    with blaming(kind, spec):
        return function()


def _from_npz(path: Path, batch_size: int) -> list[Any]:
    check_count("--batch-size", batch_size, 1)
    arrays = read_npz_arrays(path, "data", ("inputs", "targets"))
    if "inputs" not in arrays:
        known = ", ".join(map(repr, npz_names(path, "data")))
        raise InvalidInput(
            f"data {str(path)!r} lacks the array 'inputs': it has {known or 'no arrays'}; write it with "
            f"numpy.savez({str(path)!r}, inputs=..., targets=...)"
        )
    tensors = {name: _tensor(path, name, array) for name, array in arrays.items()}
    inputs, targets = tensors["inputs"], tensors.get("targets")
    if targets is None:
        return list(inputs.split(batch_size))
    if len(targets) != len(inputs):
        raise InvalidInput(f"data {str(path)!r} has {len(inputs)} inputs and {len(targets)} targets: give one each")
    return list(zip(inputs.split(batch_size), targets.split(batch_size), strict=True))


def _tensor(path: Path, name: str, array: np.ndarray[Any, Any]) -> Tensor:
    import torch

    if array.dtype.kind not in "biuf" or array.ndim == 0 or len(array) == 0:
        raise InvalidInput(
            f"{name} in {str(path)!r} has the type {array.dtype} and the shape {array.shape}: it must hold numbers, "
            "one sample per entry of its first dimension"
        )
    if array.dtype.kind == "f":
        return torch.from_numpy(array.astype(np.float32))  # what networks compute in
    return torch.from_numpy(array.astype(np.int64))
