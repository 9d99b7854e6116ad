"""Where rounding errors of weights come from: a bank, a folder that holds those of before, or rounding to nearest.

They are kept on disk for later measurements, since searching their scales can take longer.
"""

from __future__ import annotations

import functools
import hashlib
from typing import TYPE_CHECKING

import numpy as np
import torch

from .._version import __version__
from ..common.files import writing
from ..common.npz import read_npy_array
from ..errors import InvalidInput
from ..network.discovery import uses_of
from ..network.fingerprint import tensor_digest
from ..rounding.rows import computed_in
from ..rounding.weights import perturbations
from .columns import stores_weights
from .streaming import Rounding, errors_bytes
from .task import LayerWeight

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from torch import Tensor, nn

    from ..formats.format import Format
    from ..layers import Layer
    from ..rounding.bank import WeightBank
    from .streaming import Compute, Disk


def layer_weights(
    model: nn.Module,
    layers: Sequence[Layer],
    formats: Sequence[Format],
    cache: Path | None = None,
    limit: int | None = None,
    disk: Disk | None = None,
    bank: WeightBank | None = None,
) -> tuple[LayerWeight, ...]:
    """Find the modules and parameters of each layer in the model, and what each format adds to its weight.

    Parameters
    ----------
    model
        The network.
    layers
        The layers.
    formats
        What is stored of weights; with a bank under the names that it has there.
    cache
        A folder for what rounding to nearest adds; None for none.
    limit, disk
        As for `Rounding`.
    bank
        The weights; None to round to nearest.

    Returns
    -------
    weights
        One for each layer.
    """
    found = uses_of(model, layers)
    places = [tuple(dict.fromkeys(found[name] for name in (layer.name, *layer.ties))) for layer in layers]
    compute: Compute = uncached_perturbations
    if bank is not None:
        compute = functools.partial(banked_perturbations, bank)
    elif cache is not None:
        compute = functools.partial(cached_perturbations, cache)
    parameters = [tuple(dict.fromkeys(use.weight for use in uses)) for uses in places]
    sizes = [errors_bytes(layer, len(formats), own[0].dtype) for layer, own in zip(layers, parameters, strict=True)]
    rounding = Rounding(compute, formats, sizes, limit, disk)
    return tuple(
        LayerWeight(layer, tuple(dict.fromkeys(use.module for use in uses)), own, rounding(own[0], layer))
        for layer, uses, own in zip(layers, places, parameters, strict=True)
    )


def cached_perturbations(folder: Path, weight: Tensor, formats: Sequence[Format], layer: Layer) -> Tensor:
    """Give what `perturbations` gives, computing only what the folder does not hold.

    A file is named by the weight's content, the format and this version of the package, so that none is taken for
    another; one that cannot be read is made again. A user's own formats are always computed, because what their
    quantizer does has no name.

    Parameters
    ----------
    folder
        Where the files are; made if missing.
    weight, formats, layer
        As for `perturbations`.

    Returns
    -------
    perturbations
        ``(n_formats, *layer.shape)``, on the weight's device.
    """
    content = hashlib.sha256(tensor_digest(weight).encode())
    content.update(repr((__version__, str(weight.dtype), layer.kind, layer.shape, layer.channels)).encode())

    def error(entry: Format) -> Tensor:
        if not entry.built_in:
            return perturbations(weight, [entry], layer)[0]
        path = folder / f"{content.hexdigest()[:40]}-{entry.name}.npy"
        found = _read(path, layer)
        if found is None:
            found = perturbations(weight, [entry], layer)[0]
            _write(path, found)
        return found.to(weight.device)

    return format_by_format(error, formats)


def uncached_perturbations(weight: Tensor, formats: Sequence[Format], layer: Layer) -> Tensor:
    """Give what `perturbations` gives, format by format to spare memory."""
    return format_by_format(lambda entry: perturbations(weight, [entry], layer)[0], formats)


def banked_perturbations(bank: WeightBank, weight: Tensor, formats: Sequence[Format], layer: Layer) -> Tensor:
    """Give what `perturbations` gives for the codes of a bank, of which one format at a time is decoded.

    Parameters
    ----------
    bank
        The bank.
    weight
        The float weight.
    formats
        Formats, under the names that the bank has them; those that leave weights float need no codes.
    layer
        The layer.

    Returns
    -------
    perturbations
        ``(n_formats, *layer.shape)``, on the weight's device.

    Raises
    ------
    InvalidInput
        When the bank lacks the layer or a format.
    """
    plain = weight.detach()
    dtype = computed_in(plain.dtype)

    def error(entry: Format) -> Tensor:
        if not stores_weights(entry):
            return torch.zeros_like(plain, dtype=dtype)
        return bank.weight(layer.name, entry, plain.dtype).to(plain.device, dtype) - plain.to(dtype)

    return format_by_format(error, formats)


def format_by_format(error: Callable[[Format], Tensor], formats: Sequence[Format]) -> Tensor:
    """Put what `error` gives for each format into one tensor, with no more than one of them beside it at a time."""
    first = error(formats[0])
    errors = first.new_empty((len(formats), *first.shape))
    errors[0] = first
    del first
    for row, entry in enumerate(formats[1:], start=1):
        errors[row] = error(entry)
    return errors


def _read(path: Path, layer: Layer) -> Tensor | None:
    try:
        array = read_npy_array(path, "rounding error")
    except InvalidInput:
        return None
    if array.shape != layer.shape or array.dtype not in {np.dtype(np.float32), np.dtype(np.float64)}:
        return None
    return torch.from_numpy(array)


def _write(path: Path, perturbation: Tensor) -> None:
    """Write whole or not at all, since several processes may share the folder."""
    with writing(path) as file:
        np.save(file, perturbation.cpu().numpy(), allow_pickle=False)
