"""Moves scales from the weights of linear layers into the norm before them, so that inputs that matter round less."""

from __future__ import annotations

import contextlib
import copy
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ...common.checks import check_probability
from ...errors import InvalidInput
from ...formats.format import as_formats
from ...network.batch import MASK
from ...network.batches import as_batches, call, evaluating
from ...network.discovery import discover
from ..encoded import decode_weight
from ..rounder import InputStatistics
from ..rounders.nearest import Nearest
from ..statistics import FLOAT_INPUT, gather_statistics
from .reads import Reads, check_same, has_hooks

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ...formats.format import Format
    from ...layers import Layer
    from ...network.batch import Batch
    from ..rounder import Rounder

logger = logging.getLogger(__name__)

NEAREST = Nearest()
EXPONENTS = tuple(step / 10 for step in range(11))
_CHECKED = 4  # batches on which the outputs are compared
_LEAST = 1e-4  # of the largest mean magnitude: what is smaller counts as this, so that scales stay moderate


def scale_inputs(
    model: nn.Module,
    batches: Iterable[object],
    formats: str | Iterable[str | Format],
    *,
    rounder: Rounder = NEAREST,
    exponents: Sequence[float] = EXPONENTS,
) -> nn.Module:
    """Scale the columns of linear layers behind a norm by how large their inputs are, and the norm the other way.

    After AWQ (Lin et al., 2024, *AWQ: Activation-aware Weight Quantization for On-Device LLM Compression and
    Acceleration*, MLSys). One vector of scales for each norm, ``(mean |x|)**exponent``, is divided out of the norm's
    weight and bias and multiplied into the layers behind it, such as query, key and value. The exponent is the one with
    the least output error of these layers: for each format as a share of what it is without scales, and the mean of
    that over the formats, because one network serves them all. 0 stands for no scales.

    A norm is a module whose only parameters are a ``weight`` and perhaps a ``bias``, one number a channel, and whose
    output is proportional to these, which is tried. Its output must feed nothing but linear layers, and their weights
    nothing else; other norms are left alone.

    Parameters
    ----------
    model
        The float network; it is given back as it was.
    batches
        As for `measure`; targets are not used.
    formats
        The formats that will be offered, or some that stand for them.
    rounder
        What rounds the weights when exponents are compared.
    exponents
        Candidates, from 0 to 1.

    Returns
    -------
    scaled
        A copy, in the modes of `model`, that computes the same up to rounding.

    Raises
    ------
    InvalidInput
        When no format stores weights, an exponent is not from 0 to 1, the model fails on a batch, or the copy's outputs
        differ by more than rounding.
    """
    columns = [entry.weights_only for entry in as_formats(formats) if entry.weights_only.name != "float"]
    if not columns:
        raise InvalidInput("none of the formats stores weights: give one that will be offered, such as 'w4'")
    for each in exponents:
        check_probability("an exponent", each)
    data = list(as_batches(batches, model))
    made = copy.deepcopy(model)
    norms = _scalable(made, data[0].head(1))
    if norms:
        names = [name for norm in norms for name in norm.linears]
        layers = {layer.name: layer for layer in discover(made, data[0], names) if layer.name in names}
        statistics = gather_statistics(made, data, list(layers.values()))
        sizes = _mean_sizes(made, data, norms)
        for norm in norms:
            behind = [
                _Behind(linear.weight, layers[name], statistics[name, FLOAT_INPUT])
                for name, linear in norm.linears.items()
            ]
            losses = {each: _loss(behind, _scales(sizes[norm.module], each), columns, rounder) for each in exponents}
            unscaled = _loss(behind, torch.ones_like(sizes[norm.module]), columns, rounder)
            best = min(losses, key=lambda each: _relative(losses[each], unscaled), default=0.0)
            if best and _relative(losses[best], unscaled) < 1:
                logger.info("norm %r: scales of exponent %g", norm.name, best)
                _apply(norm, _scales(sizes[norm.module], best))
    check_same(model, made, data[:_CHECKED], "scaling inputs")
    return made


@dataclass(frozen=True, eq=False)
class _Norm:
    """A norm, and the linear layers by name that it alone feeds."""

    name: str
    module: nn.Module
    linears: Mapping[str, nn.Linear]


@dataclass(frozen=True, eq=False)
class _Behind:
    """A layer behind a norm."""

    weight: Tensor
    layer: Layer
    inputs: InputStatistics


def _scalable(model: nn.Module, batch: Batch) -> list[_Norm]:
    """The norms that may be scaled."""
    reads = Reads.of(model, batch)
    names = {module: name for name, module in model.named_modules()}
    readable = {
        module
        for module in names
        if isinstance(module, nn.Linear) and reads.calls[module] == 1 and not has_hooks(module)
        if reads.only_by(module, [module.weight])
    }
    found = []
    for module, name in names.items():
        if module not in reads.outputs or reads.calls[module] != 1 or has_hooks(module):
            continue
        output = reads.outputs[module]
        readers = reads.readers(output) - {module}
        if not readers or not readers <= readable or not reads.only_by(module, module.parameters()):
            continue
        linears = {names[each]: each for each in names if each in readers and isinstance(each, nn.Linear)}
        taken = all(each.in_features == output.shape[-1] for each in linears.values())
        if taken and _is_norm(module, reads.inputs.get(module), output.shape[-1]):
            found.append(_Norm(name, module, linears))
    return found


def _is_norm(module: nn.Module, inputs: Tensor | None, channels: int) -> bool:
    """Whether the output is proportional, channel by channel, to the weight and bias, and these are all there is."""
    parameters = dict(module.named_parameters())
    if inputs is None or "weight" not in parameters or not set(parameters) <= {"weight", "bias"}:
        return False
    if any(each.shape != (channels,) or not each.is_floating_point() for each in parameters.values()):
        return False
    weight = parameters["weight"]
    factor = torch.linspace(0.5, 2, channels, dtype=weight.dtype, device=weight.device)
    with evaluating(module), torch.no_grad():
        plain = functional_call(module, {}, (inputs,))
        scaled = functional_call(module, {key: each * factor for key, each in parameters.items()}, (inputs,))
    precision = float(torch.finfo(weight.dtype).eps) ** 0.5
    wanted = plain * factor
    return bool((scaled - wanted).abs().max() <= precision * wanted.abs().max())


def _mean_sizes(model: nn.Module, batches: Sequence[Batch], norms: Sequence[_Norm]) -> dict[nn.Module, Tensor]:
    """``(channels,)`` float64: the mean magnitude of what each norm gives, without positions of padding."""
    sums: dict[nn.Module, Tensor] = {}
    counts: dict[nn.Module, int] = {}
    mask: Tensor | None = None

    def see(module: nn.Module, args: tuple[object, ...], output: Tensor) -> None:
        if mask is not None and output.ndim == 3 and mask.shape == output.shape[:2]:
            output = output[mask.to(output.device) != 0]
        rows = output.reshape(-1, output.shape[-1]).double().abs()
        sums[module] = sums.get(module, torch.zeros_like(rows[0])) + rows.sum(dim=0)
        counts[module] = counts.get(module, 0) + len(rows)

    with evaluating(model), contextlib.ExitStack() as hooks, torch.no_grad():
        for norm in norms:
            hooks.callback(norm.module.register_forward_hook(see).remove)
        for batch in batches:
            mask = None if isinstance(batch.inputs, Tensor) else batch.inputs.get(MASK)
            call(model, batch)
    return {module: total / max(counts[module], 1) for module, total in sums.items()}


def _scales(sizes: Tensor, exponent: float) -> Tensor:
    """``(channels,)``: the largest and the smallest lie evenly about 1; channels that are always zero keep 1."""
    alive = sizes > 0
    if not bool(alive.any()):
        return torch.ones_like(sizes)
    powers = sizes.clamp(min=float(sizes[alive].max()) * _LEAST) ** exponent
    middle = (powers[alive].max() * powers[alive].min()).sqrt()
    return torch.where(alive, powers / middle, 1.0)


def _loss(behind: Sequence[_Behind], scales: Tensor, formats: Sequence[Format], rounder: Rounder) -> list[float]:
    """The squared output error of the layers, for each format."""
    losses = [0.0] * len(formats)
    for each in behind:
        weight = (each.weight.detach().double() * scales).to(each.weight.dtype)
        gram = each.inputs.gram / (scales[:, None] * scales)
        inputs = InputStatistics(gram, each.inputs.rows)
        for at, (entry, encoded) in enumerate(
            zip(formats, rounder.encode(weight, each.layer, formats, inputs), strict=True)
        ):
            off = decode_weight(encoded, entry, each.layer, torch.float64) - weight.double()
            losses[at] += float(((off @ gram[0]) * off).sum())
    return losses


def _relative(losses: Sequence[float], unscaled: Sequence[float]) -> float:
    """The mean over formats of the loss as a share of the one without scales; a format without loss cannot gain."""
    return sum(own / plain if plain > 0 else 1.0 for own, plain in zip(losses, unscaled, strict=True)) / len(losses)


def _apply(norm: _Norm, scales: Tensor) -> None:
    with torch.no_grad():
        for parameter in norm.module.parameters():
            parameter.copy_(parameter.double() / scales)
        for linear in norm.linears.values():
            linear.weight.copy_(linear.weight.double() * scales)
