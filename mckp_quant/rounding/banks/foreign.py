"""Weights that another tool has rounded: their codes, found again where there are any."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...errors import InvalidInput, unknown
from ...formats.blocks import GGML
from ...formats.format import as_formats
from ...layers import Layer
from ...network.weight_uses import uses_in
from ..arithmetic import SMALL_FLOATS
from ..encoded import EncodedWeight, OpaqueWeight, decode_weight
from ..rows import channel_rows, joined, scale_rows
from ..weights import check_weight, encode_blocks, encode_weight

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

    from ...formats.format import Format
    from ...formats.schemes import WeightScheme
    from ..encoded import StoredWeight


def stored_weights(
    model: nn.Module, weights: Mapping[str, Mapping[str | Format, EncodedWeight | Tensor]]
) -> tuple[tuple[Layer, ...], tuple[Format, ...], dict[tuple[str, str], StoredWeight]]:
    """Take the weights of a network that another tool has rounded.

    Parameters
    ----------
    model
        The float network.
    weights
        As for `WeightBank.of_weights`.

    Returns
    -------
    layers, formats, codes
        The layers, the formats that each of them has, and codes by the names of both.

    Raises
    ------
    InvalidInput
        As `WeightBank.of_weights` does.
    """
    uses = uses_in(model)
    kept = {name: {each.name: (each, own[key]) for key, each in _keyed(own)} for name, own in weights.items()}
    formats = tuple(entry for entry, _ in next(iter(kept.values())).values())
    layers, codes = [], {}
    for name, own in kept.items():
        if name not in uses:
            raise unknown("layer", name, uses)
        if set(own) != {entry.name for entry in formats}:
            raise InvalidInput(
                f"layer {name!r} has weights in {', '.join(own)}, and the first one in "
                f"{', '.join(entry.name for entry in formats)}: give all layers the same formats"
            )
        weight = uses[name].weight
        ties = tuple(other for other, use in uses.items() if other != name and use.weight is weight)
        layer = Layer(name, uses[name].kind, tuple(weight.shape), uses[name].channels, None, ties)
        layers.append(layer)
        codes.update({(name, each): stored_weight(given, entry, layer) for each, (entry, given) in own.items()})
    return tuple(layers), formats, codes


def _keyed(weights: Mapping[str | Format, object]) -> list[tuple[str | Format, Format]]:
    return list(zip(weights, as_formats(list(weights)), strict=True))


def stored_weight(given: EncodedWeight | Tensor, entry: Format, layer: Layer) -> StoredWeight:
    """Take a weight that another tool has rounded.

    Parameters
    ----------
    given
        Its codes, or the weight itself, ``layer.shape``.
    entry, layer
        The format, and the facts about the weight.

    Returns
    -------
    stored
        Codes, where these were given or the weight is made of some in this format, to the last bit; else its values,
        which can be applied and not packed.

    Raises
    ------
    InvalidInput
        When the shape is another, numbers are not finite, or codes are none of the format.
    """
    if isinstance(given, EncodedWeight):
        _check_codes(given, entry, layer)
        return given.compact(entry)
    if not isinstance(given, Tensor):
        raise InvalidInput(
            f"the weight of layer {layer.name!r} in {entry.name!r} is a {type(given).__name__}: give an EncodedWeight "
            "or a tensor"
        )
    weight = given.detach()
    check_weight(weight, layer)
    scheme = entry.weight_scheme
    if scheme is not None:
        of_blocks = scheme.family == GGML
        tries: list[StoredWeight] = [(encode_blocks if of_blocks else encode_weight)(weight, entry, layer)]
        if scheme.family == "integer":
            tries.append(_found(weight, scheme, layer))
        for encoded in tries:
            if torch.equal(decode_weight(encoded, entry, layer, weight.dtype), weight):
                return encoded.compact(entry)
    return OpaqueWeight(channel_rows(weight, layer).contiguous())


def _check_codes(encoded: EncodedWeight, entry: Format, layer: Layer) -> None:
    scheme = entry.weight_scheme
    weight = decode_weight(encoded, entry, layer)  # refuses other shapes, and formats without codes
    assert scheme is not None
    what = f"the codes of layer {layer.name!r} in {entry.name!r}"
    if not bool(torch.isfinite(encoded.scales).all() & torch.isfinite(weight).all()):
        raise InvalidInput(f"{what} or their scales are nan or infinite: give finite ones")
    codes = encoded.elements.double()
    if scheme.element != "int":
        kind, wide = SMALL_FLOATS[scheme.element], encoded.elements.float()
        wrong = kind.round(wide) != wide
        allowed = f"numbers of {scheme.element}"
    else:
        top = 2**scheme.bits - 1 if not scheme.symmetric else max(2 ** (scheme.bits - 1) - 1, 1)
        least = 0 if not scheme.symmetric else -top
        wrong = (codes != codes.round()) | (codes < least) | (codes > top) | ((codes == 0) & (scheme.bits == 1))
        allowed = "-1 and 1" if scheme.bits == 1 else f"whole numbers from {least} to {top}"
    if bool(wrong.any()):
        raise InvalidInput(f"{what} hold {float(codes[wrong][0]):g}: the format has {allowed}")
    zeros = encoded.zero_points
    if zeros is not None and bool(((zeros < 0) | (zeros >= 2**scheme.bits) | (zeros != zeros.round())).any()):
        raise InvalidInput(
            f"{what} have zero points that are no codes: give whole numbers from 0 to {2**scheme.bits - 1}"
        )


def _found(weight: Tensor, scheme: WeightScheme, layer: Layer) -> EncodedWeight:
    """The codes of a weight that is made of some; of another, whatever comes out."""
    rows, units = scale_rows(weight, scheme, layer)
    made = [_of_rows(unit, scheme, weight.dtype) for unit in units]
    count = 1 if scheme.granularity == "tensor" else layer.known_channels
    elements, scales, zeros = zip(*made, strict=True)
    zero_points = None if scheme.symmetric else joined(zeros, rows, count)
    return EncodedWeight(joined(elements, rows), joined(scales, rows, count), zero_points)


def _of_rows(rows: Tensor, scheme: WeightScheme, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Codes, scales and zero points: the largest scale, a whole fraction of the peak, that gives every row again."""
    width = 2**scheme.bits - 1
    top = width if not scheme.symmetric else 2 ** (scheme.bits - 1) - 1
    peak = rows.abs().amax(dim=1, keepdim=True)
    if scheme.bits == 1:
        return torch.where(rows < 0, -1, 1).to(rows), peak, torch.zeros_like(peak)
    scales, steps = torch.ones_like(peak), torch.zeros_like(rows)
    known = peak == 0
    # A tool that computes in half precision holds its scales in it.
    kinds = dict.fromkeys((torch.float16 if scheme.scale == "float16" else torch.float32, dtype))
    for most, kind in itertools.product(range(1, top + 1), kinds):
        exact = (peak / most).to(kind)
        for scale in (exact, torch.nextafter(exact, 2 * exact), torch.nextafter(exact, 0 * exact)):
            wide = torch.where(scale > 0, scale, 1).to(rows)
            tried = (rows / wide).round()
            low, high = tried.amin(dim=1, keepdim=True).clamp(max=0), tried.amax(dim=1, keepdim=True).clamp(min=0)
            fits = (high - low <= width) if not scheme.symmetric else (torch.maximum(-low, high) <= top)
            same = ((tried * wide).to(dtype).to(rows) == rows).all(dim=1, keepdim=True)
            new = fits & same & ~known
            scales, steps, known = torch.where(new, wide, scales), torch.where(new, tried, steps), known | new
    zeros = torch.zeros_like(scales) if scheme.symmetric else -steps.amin(dim=1, keepdim=True).clamp(max=0)
    return steps + zeros, scales, zeros
