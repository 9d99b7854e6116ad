"""Where rounding errors of weights come from: a bank, thresholds that were searched before, or a search.

What was searched is kept on disk for later measurements, since that can take longer than they do.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import torch

from .._version import __version__
from ..common.files import writing
from ..common.npz import read_npy_array
from ..errors import InvalidInput
from ..formats.format import FLOAT
from ..network.discovery import uses_of
from ..network.fingerprint import tensor_digest
from ..rounding.arithmetic import CLIP_STEPS
from ..rounding.weights import clip_steps, perturbations, steps_shape
from .columns import stores_weights
from .errors import HELD, Coded, Errors, Kept, Scratch, Searched, errors_bytes, fitting
from .task import LayerWeight

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor, nn

    from ..formats.format import Format
    from ..layers import Layer
    from ..rounding.bank import WeightBank
    from .errors import Source


def layer_weights(
    model: nn.Module,
    layers: Sequence[Layer],
    formats: Sequence[Format],
    cache: Path | None = None,
    held: int = HELD,
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
        A folder for the thresholds that are searched when weights are rounded to nearest; None for none.
    held
        How many bytes of rounding errors are in memory. Those of the first layers that fit are, in the order of the
        layers; the others are computed whenever they are needed.
    bank
        The weights; None to round to nearest.

    Returns
    -------
    weights
        One for each layer.
    """
    found = uses_of(model, layers)
    places = [tuple(dict.fromkeys(found[name] for name in (layer.name, *layer.ties))) for layer in layers]
    parameters = [tuple(dict.fromkeys(use.weight for use in uses)) for uses in places]
    sizes = [errors_bytes(layer, len(formats), own[0].dtype) for layer, own in zip(layers, parameters, strict=True)]
    scratch, made = Scratch(), []
    for layer, uses, own, stays in zip(layers, places, parameters, fitting(sizes, held), strict=True):
        errors = Errors(own[0], layer, _sources(own[0], layer, formats, cache, bank), scratch)
        if stays:
            errors.held = errors.whole()
        made.append(LayerWeight(layer, tuple(dict.fromkeys(use.module for use in uses)), own, errors))
    return tuple(made)


def _sources(
    weight: Tensor, layer: Layer, formats: Sequence[Format], cache: Path | None, bank: WeightBank | None
) -> tuple[Source, ...]:
    """What the errors of a layer follow from, in each format; raises InvalidInput where a bank lacks one."""
    if bank is not None:
        return tuple(_of_bank(bank, entry, layer) for entry in formats)
    content = "" if cache is None else _content(weight, layer)

    def of_nearest(entry: Format) -> Source:
        if not entry.built_in:
            return Kept(perturbations(weight, [entry], layer)[0])
        shape = steps_shape(entry, layer)
        if cache is None or shape is None:
            return Searched(entry, clip_steps(weight, entry, layer))
        path = cache / f"{content}-{entry.name}.npy"
        steps = _read(path, shape)
        if steps is None:
            steps = clip_steps(weight, entry, layer)
            assert steps is not None
            _write(path, steps)
        return Searched(entry, steps.to(weight.device))

    return tuple(map(of_nearest, formats))


def _of_bank(bank: WeightBank, entry: Format, layer: Layer) -> Source:
    if not stores_weights(entry):
        return Searched(FLOAT, None)
    if not bank.holds(layer.name, entry):
        bank.encoded(layer.name, entry)  # refuses it, in words
    return Coded(bank, entry)


def _content(weight: Tensor, layer: Layer) -> str:
    """Names a weight by its numbers and this version of the package, so that none is taken for another."""
    content = hashlib.sha256(tensor_digest(weight).encode())
    content.update(repr((__version__, str(weight.dtype), layer.kind, layer.shape, layer.channels)).encode())
    return content.hexdigest()[:40]


def _read(path: Path, shape: tuple[int, int]) -> Tensor | None:
    """What a file holds; None where it is missing or cannot be read, and is to be made again."""
    try:
        array = read_npy_array(path, "thresholds")
    except InvalidInput:
        return None
    fits = array.dtype == np.uint8 and array.shape == shape and 1 <= array.min() <= array.max() <= CLIP_STEPS
    return torch.from_numpy(array) if fits else None


def _write(path: Path, steps: Tensor) -> None:
    """Write whole or not at all, since several processes may share the folder."""
    with writing(path) as file:
        np.save(file, steps.cpu().numpy(), allow_pickle=False)
