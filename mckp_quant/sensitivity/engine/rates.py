"""How fast this machine is: a matrix product, and the rounding of a weight to each format."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from ...rounding.bank import WeightBank
from ...rounding.rounder import INPUTS, InputStatistics
from ...rounding.rows import computed_in
from ...rounding.weights import clip_steps, quantize, rounding_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from ...formats.format import Format
    from ...layers import Layer
    from ...rounding.rounder import Rounder

_MATMUL = 512  # rows and columns of the matrices that are multiplied to time the machine
_SECONDS, _REPETITIONS = 0.2, 4  # that each timing takes at least; the first one warms up
_LONG = 5  # times that, after which no more is timed
_CHANNELS, _LENGTH = 64, 1024  # of the weight that is rounded to time a format
_ROW = 256  # of the weight that is rounded to time a rounder that looks at inputs


@dataclass(frozen=True)
class Rates:
    """How fast this machine is.

    Attributes
    ----------
    flops
        Floating-point operations per second of a matrix product.
    rounded
        For each format of weights, seconds to round one weight.
    row
        How long the row of weights was with which they were timed, where the time grows with it, as it does for
        rounders that look at inputs; 0 where it does not.
    again
        For each format of weights, seconds to compute the rounding error of one weight whose thresholds are known.
    """

    flops: float
    rounded: tuple[float, ...]
    row: int = 0
    again: tuple[float, ...] = ()


def measured_rates(
    like: Tensor, layer: Layer, formats: tuple[Format, ...], rounder: Rounder | WeightBank | str | None = None
) -> Rates:
    """Time a matrix product, and the rounding of a weight to each format.

    Parameters
    ----------
    like
        Whose dtype and device count; for the meta device the CPU.
    layer
        A layer, for the formats.
    formats
        The formats.
    rounder
        What rounds; a bank has rounded already, which takes no time, and anything else rounds to nearest.

    Returns
    -------
    rates
        The fastest of a few repetitions: what else runs on the machine slows it down.
    """
    device = torch.device("cpu") if like.is_meta else like.device
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(_MATMUL, _MATMUL, generator=generator).to(device=device, dtype=like.dtype)
    flops = 2 * _MATMUL**3 / _fastest(lambda: float((matrix @ matrix)[0, 0]))
    again = tuple(_computed_again(like.dtype, entry, type(layer), device) for entry in formats)
    if isinstance(rounder, WeightBank):
        return Rates(flops, (0.0,) * len(formats), again=again)
    by_inputs = rounder is not None and not isinstance(rounder, str) and rounder.needs == INPUTS
    length = _ROW if by_inputs else _LENGTH
    weight = torch.randn(_CHANNELS, length, generator=generator).to(device)
    sample = type(layer)("timed", "linear", (_CHANNELS, length), _CHANNELS, 0)
    if rounder is None or isinstance(rounder, str):
        searched = tuple(
            _fastest(lambda entry=entry: float(quantize(weight, entry, sample)[0, 0])) / weight.numel()  # type: ignore[misc]
            for entry in formats
        )
        return Rates(flops, searched, again=again)
    inputs = torch.randn(2 * length, length, generator=generator, dtype=torch.float64)
    seen = InputStatistics((inputs.T @ inputs)[None], torch.tensor([2.0 * length], dtype=torch.float64))
    plain = [entry.weights_only for entry in formats]
    # All formats together, because they share what is costly; each is given its part.
    seconds = _fastest(lambda: float(len(rounder.encode(weight, sample, plain, seen))))
    share = seconds / weight.numel() / len(formats)
    return Rates(flops, (share,) * len(formats), length if by_inputs else 0, again)


def _computed_again(dtype: torch.dtype, entry: Format, layer: type[Layer], device: torch.device) -> float:
    """Seconds to compute the rounding error of one weight from what a search has found."""
    if not entry.built_in:
        return 0.0
    sample = layer("timed", "linear", (_CHANNELS, _LENGTH), _CHANNELS, 0)
    weight = torch.randn(_CHANNELS, _LENGTH, generator=torch.Generator().manual_seed(0)).to(device, dtype)
    steps = clip_steps(weight, entry, sample)
    out = torch.empty_like(weight, dtype=computed_in(dtype))
    return _fastest(lambda: float(rounding_error(weight, entry, sample, steps, out)[0, 0])) / weight.numel()


def _fastest(work: Callable[[], object]) -> float:
    """Seconds of the fastest run, out of those that a short time allows and a few, or two where they take long."""
    times: list[float] = []
    begun = time.perf_counter()
    while (
        len(times) < 2
        or (spent := time.perf_counter() - begun) <= _SECONDS
        or (len(times) <= _REPETITIONS and spent <= _LONG * _SECONDS)
    ):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)
