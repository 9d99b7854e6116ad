"""The rows that a weight is multiplied with: inputs of linear layers, patches under the kernels of convolutions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_CHUNK = 2**22  # numbers of patches that are made at a time
# So many positions of a sample are taken, or a quarter of the weights of an output where that is more: neighbouring
# patches say nearly the same, and what a sum over few samples lacks is samples.
POSITIONS = 64

# The functions in which a layer multiplies its weight, with the dimensions that its kernel has.
LINEAR = F.linear
CONVOLUTIONS: dict[Callable[..., Any], int] = {torch.conv1d: 1, torch.conv2d: 2, torch.conv3d: 3}
TRANSPOSED: dict[Callable[..., Any], int] = {
    torch.conv_transpose1d: 1,
    torch.conv_transpose2d: 2,
    torch.conv_transpose3d: 3,
}


def patch_rows(function: Callable[..., Any], inputs: Tensor, weight: Tensor, *options: Any) -> Iterator[Tensor]:
    """Give the rows that a call multiplies a weight with, some samples at a time.

    Parameters
    ----------
    function
        `LINEAR`, or a key of `CONVOLUTIONS` or `TRANSPOSED`.
    inputs, weight
        What it was called with.
    options
        Its further arguments after the bias: for convolutions stride, padding, dilation and groups, for transposed
        ones stride, padding, output padding, groups and dilation.

    Yields
    ------
    rows
        ``(groups, rows, n)``, of a convolution with many positions some of these (`POSITIONS`), drawn by their number;
        where ``n`` are the weights of one output in the order of `channel_rows`.
    """
    if function is LINEAR:
        yield inputs.reshape(1, -1, inputs.shape[-1])
        return
    spatial = CONVOLUTIONS.get(function) or TRANSPOSED[function]
    if function in TRANSPOSED:
        stride, padding, output_padding, groups, dilation = _defaults(options, (1, 0, 0, 1, 1))
        strides, dilations = _each(stride, spatial), _each(dilation, spatial)
        kernel = weight.shape[2:]
        # A transposed convolution is a convolution with the kernel turned round, over the input spread by its strides.
        inputs = _spread(_batched(inputs, spatial), strides)
        sides = [
            (d * (k - 1) - p, d * (k - 1) - p + o)
            for k, d, p, o in zip(
                kernel, dilations, _each(padding, spatial), _each(output_padding, spatial), strict=True
            )
        ]
        made = _patches(inputs, kernel, sides, [1] * spatial, dilations, int(groups))
        for rows in made:
            channels = rows.reshape(*rows.shape[:2], -1, *kernel)
            yield channels.flip(list(range(3, 3 + spatial))).flatten(2)
        return
    stride, padding, dilation, groups = _defaults(options, (1, 0, 1, 1))
    kernel, dilations = weight.shape[2:], _each(dilation, spatial)
    sides = _sides(padding, kernel, dilations)
    yield from _patches(_batched(inputs, spatial), kernel, sides, _each(stride, spatial), dilations, int(groups))


def _patches(
    inputs: Tensor,
    kernel: Sequence[int],
    sides: Sequence[tuple[int, int]],
    strides: Sequence[int],
    dilations: Sequence[int],
    groups: int,
) -> Iterator[Tensor]:
    spatial, size = len(kernel), 1
    for count in kernel:
        size *= count
    per_sample = inputs[0].numel() * size if len(inputs) else 1
    for at, piece in enumerate(torch.split(inputs, max(1, _CHUNK // max(1, per_sample)))):
        windows = F.pad(piece, [amount for pair in reversed(sides) for amount in pair])
        for axis in range(spatial):
            span = dilations[axis] * (kernel[axis] - 1) + 1
            windows = windows.unfold(2 + axis, span, strides[axis])[..., :: dilations[axis]]
        # (samples, channels, *positions, *kernel) -> (groups, samples * positions, channels of a group * kernel)
        grouped = windows.unflatten(1, (groups, -1))
        order = [1, 0, *range(3, 3 + spatial), 2, *range(3 + spatial, 3 + 2 * spatial)]
        moved = grouped.permute(order)
        row = grouped.shape[2] * size
        yield _some(moved, spatial, max(POSITIONS, row // 4), at).reshape(groups, -1, row)


def _some(windows: Tensor, spatial: int, most: int, seed: int) -> Tensor:
    """Of ``(groups, samples, *positions, ...)`` all positions, or `most`; the same ones in every call of a shape."""
    positions = windows.shape[2 : 2 + spatial]
    count = math.prod(positions)
    if count <= most:
        return windows
    picked = torch.randperm(count, generator=torch.Generator().manual_seed(count + seed))[:most].sort().values
    places: tuple[Tensor, ...] = ()
    for size in reversed(positions):
        places = ((picked % size).to(windows.device), *places)
        picked = picked // size
    everywhere = slice(None)
    index: tuple[slice | Tensor, ...] = (everywhere, everywhere, *places)
    return windows[index]


def _batched(inputs: Tensor, spatial: int) -> Tensor:
    """Convolutions also take a sample without its first dimension."""
    return inputs if inputs.ndim == spatial + 2 else inputs[None]


def _spread(inputs: Tensor, strides: Sequence[int]) -> Tensor:
    """The input with zeros between its entries."""
    shape = [(size - 1) * step + 1 for size, step in zip(inputs.shape[2:], strides, strict=True)]
    spread = inputs.new_zeros(*inputs.shape[:2], *shape)
    spread[(slice(None), slice(None), *(slice(None, None, step) for step in strides))] = inputs
    return spread


def _sides(padding: Any, kernel: Sequence[int], dilations: Sequence[int]) -> list[tuple[int, int]]:
    if padding == "valid":
        return [(0, 0)] * len(kernel)
    if padding == "same":
        totals = [d * (k - 1) for k, d in zip(kernel, dilations, strict=True)]
        return [(total // 2, total - total // 2) for total in totals]
    return [(amount, amount) for amount in _each(padding, len(kernel))]


def _each(amount: Any, count: int) -> list[int]:
    values = [int(each) for each in amount] if isinstance(amount, list | tuple) else [int(amount)]
    return values * count if len(values) == 1 else values


def _defaults(options: Sequence[Any], defaults: Sequence[Any]) -> list[Any]:
    return [*options, *defaults[len(options) :]]
