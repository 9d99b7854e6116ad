r"""Per-sample products of a weight's gradient with given directions, without keeping the gradient.

For one call of a layer with input ``x_n`` and output gradient ``d_n`` of sample ``n``, the weight gradient ``G_n`` of
the sample is linear in both, and what is wanted is ``a_n(f) = <G_n, P_f>`` for several directions ``P_f`` (one a
format). There are two orders of work: form ``G_n``, then contract it with every ``P_f`` at once (its cost hardly
grows with the number of directions), or apply the layer with ``P_f`` in place of its weight and contract with ``d_n``
(one forward pass a direction and no ``G_n``, which is faster where a layer has few positions). The rules for choosing
were fitted to CPU timings. They depend on shapes only, never on a clock, so that the same input gives the same rounding
errors on every run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...network.weight_uses import KINDS, is_transposed_linear

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ..errors import Errors

# Per-sample gradients are formed for so many samples at a time that they hold about this many elements: few enough to
# stay in cache and to add little to the memory of a gradient.
_CHUNK_ELEMENTS = 2**19
# Forming and contracting the gradient of a sample is bound by memory, applying the layer by arithmetic: the former
# takes as long as the latter at so many positions of the output.
_CONTRACTION_IN_POSITIONS = 48
# What says whether a processor multiplies matrices of these types by instructions of its own.
_SUPPORTED = {torch.bfloat16: "_is_mkldnn_bf16_supported", torch.float16: "_is_mkldnn_fp16_supported"}
# A convolution with more weights than this for each position of its output is faster as a batched matrix product
# than as a grouped convolution.
_WEIGHTS_PER_POSITION = 1024


def per_sample_products(
    module: nn.Module, inputs: Tensor, gradient: Tensor, directions: Tensor, samples: int
) -> Tensor:
    """Contract every sample's weight gradient with each direction.

    Parameters
    ----------
    module
        A convolution, transposed or not, a linear layer or an embedding.
    inputs
        ``(samples * k, ...)``, what the module was called with: ``k`` consecutive rows belong to a sample.
    gradient
        The gradient of the objective with respect to the module's output.
    directions
        ``(n_directions, *weight.shape)``; float32 or float64. Everything is computed in this dtype, except that the
        gradients of linear layers are formed in the network's own where that is faster, with sums in float32: their
        rounding errors average out over the weights, to some 0.1 % of a product.
    samples
        How many samples there are.

    Returns
    -------
    products
        ``(samples, n_directions)``.
    """
    if isinstance(module, nn.Linear) and inputs.dtype == gradient.dtype and in_own_type(inputs):
        return _linear(inputs, gradient, directions, samples)
    gradient = gradient.to(directions.dtype)
    if isinstance(module, nn.Embedding):
        return _embedding(inputs, gradient, directions, samples)
    inputs = inputs.to(directions.dtype)
    if isinstance(module, nn.modules.conv._ConvNd):
        products = _convolution(module, inputs, gradient, directions)
        return products.reshape(samples, -1, len(directions)).sum(dim=1)
    if is_transposed_linear(module):
        directions = directions.transpose(1, 2)
    return _linear(inputs, gradient, directions, samples)


def piecewise(
    module: nn.Module, inputs: Tensor, gradient: Tensor, errors: Errors
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Cut a layer's rounding errors into pieces, so that products with them add up to those with all of them.

    Parameters
    ----------
    module, inputs, gradient
        As for `per_sample_products`.
    errors
        Those of the module's weight.

    Yields
    ------
    inputs, gradient, directions
        As for `per_sample_products`. Directions are overwritten by the next ones.
    """
    if isinstance(module, nn.Embedding):
        if errors.held is None and errors.by_rows:  # a batch looks up few of them
            index, inputs = inputs.unique(return_inverse=True)
            yield inputs, gradient, errors.rows(index)
        else:
            yield inputs, gradient, errors.whole()
        return
    for rows, directions in errors.pieces():
        yield inputs, gradient if len(directions[0]) == errors.layer.shape[0] else gradient[..., rows], directions


def mean_outputs(module: nn.Module, inputs: Tensor, gradient: Tensor, directions: Tensor) -> Tensor:
    """What each direction, in place of the weight, gives in each output channel, on average.

    Parameters
    ----------
    module, inputs, gradient, directions
        As for `per_sample_products`; of the gradient only the shape counts. Embeddings have no such mean.

    Returns
    -------
    means
        ``(n_directions, channels)``: over rows of the input, and over positions of the output.
    """
    if is_transposed_linear(module):
        directions = directions.transpose(1, 2)
    if not isinstance(module, nn.modules.conv._ConvNd):
        return directions @ inputs.reshape(-1, inputs.shape[-1]).to(directions.dtype).mean(dim=0)
    # The layer is linear: the mean over rows can be taken first.
    mean, padding = _padded(module, inputs.to(directions.dtype).mean(dim=0, keepdim=True))
    spatial = inputs.ndim - 2
    options: list[Any] = [module.stride, padding, module.dilation, module.groups]
    convolve: Callable[..., Tensor] = (F.conv1d, F.conv2d, F.conv3d)[spatial - 1]
    if module.transposed:
        convolve = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[spatial - 1]
        least = convolve(mean, directions[0], None, module.stride, padding, 0, module.groups, module.dilation)
        more = [own - found for own, found in zip(gradient.shape[2:], least.shape[2:], strict=True)]
        options = [module.stride, padding, more, module.groups, module.dilation]
    return torch.cat([convolve(mean, each, None, *options).flatten(2).mean(dim=2) for each in directions])


def summed_over_positions(module: nn.Module, gradient: Tensor, samples: int) -> Tensor:
    """``(samples, channels)``: the gradient of an output, summed over all positions of a sample."""
    if isinstance(module, nn.modules.conv._ConvNd):
        return gradient.flatten(2).sum(dim=2).reshape(samples, -1, gradient.shape[1]).sum(dim=1)
    return gradient.reshape(samples, -1, gradient.shape[-1]).sum(dim=1)


def has_sample_rows(module: nn.Module, inputs: Tensor, samples: int) -> bool:
    """Whether the input has a first dimension that can be split evenly among the samples."""
    if isinstance(module, nn.Embedding):
        enough = inputs.ndim >= 1
    elif isinstance(module, nn.modules.conv._ConvNd):
        enough = inputs.ndim == module.weight.ndim
    else:
        enough = inputs.ndim >= 2
    return enough and inputs.shape[0] % samples == 0


def in_own_type(tensor: Tensor) -> bool:
    """Whether matrices of a half-precision type are multiplied faster than in float32, with sums in float32."""
    if tensor.dtype not in _SUPPORTED:
        return False
    if tensor.device.type != "cpu":
        return True
    supported = getattr(torch.ops.mkldnn, _SUPPORTED[tensor.dtype], None)
    return supported is not None and bool(supported())


def has_own_forward(module: nn.Module) -> bool:
    """Whether a module of a kind that can be quantised computes its output in a way of its own."""
    base = next((kind for kind in KINDS if isinstance(module, kind)), None)
    if base is None or "forward" in module.__dict__:
        return True
    names = ("forward", "_conv_forward")
    return any(getattr(type(module), name, None) is not getattr(base, name, None) for name in names)


def _embedding(inputs: Tensor, gradient: Tensor, directions: Tensor, samples: int) -> Tensor:
    per_sample = gradient.reshape(samples, -1)
    columns = [(F.embedding(inputs, each).reshape(samples, -1) * per_sample).sum(dim=1) for each in directions]
    return torch.stack(columns, dim=1)


def _linear(inputs: Tensor, gradient: Tensor, directions: Tensor, samples: int) -> Tensor:
    x = inputs.reshape(samples, -1, inputs.shape[-1])
    d = gradient.reshape(samples, -1, gradient.shape[-1])
    if x.shape[1] * (len(directions) - 1) < _CONTRACTION_IN_POSITIONS:
        x, d = x.to(directions.dtype), d.to(directions.dtype)
        return torch.stack([(F.linear(x, each) * d).sum(dim=(1, 2)) for each in directions], dim=1)
    flat = directions.flatten(1)
    step = max(1, _CHUNK_ELEMENTS // flat.shape[1])
    pieces = zip(torch.split(d, step), torch.split(x, step), strict=True)
    formed = (torch.bmm(dn.transpose(1, 2), xn).flatten(1) for dn, xn in pieces)
    return torch.cat([each.to(flat.dtype) @ flat.T for each in formed])


def _convolution(module: nn.modules.conv._ConvNd, inputs: Tensor, gradient: Tensor, directions: Tensor) -> Tensor:
    """``(rows, n_directions)`` for an input of as many rows."""
    inputs, padding = _padded(module, inputs)
    if module.transposed:
        # A transposed convolution is the adjoint of a convolution with the same weight: input and gradient swap roles.
        inputs, gradient = gradient, inputs
    flat = directions.flatten(1)
    positions = gradient[0, 0].numel()
    if module.groups == 1 and positions * (len(directions) - 1) <= _CONTRACTION_IN_POSITIONS:
        return _applied(inputs, gradient, directions, module, padding)
    step = max(1, _CHUNK_ELEMENTS // flat.shape[1])
    wide = module.groups == 1 and flat.shape[1] > _WEIGHTS_PER_POSITION * positions
    form = _unfolded_gradients if wide else _grouped_gradients
    pieces = zip(torch.split(inputs, step), torch.split(gradient, step), strict=True)
    shape = directions.shape[1:]
    return torch.cat([form(xn, dn, shape, module, padding).flatten(1) @ flat.T for xn, dn in pieces])


def _padded(module: nn.modules.conv._ConvNd, inputs: Tensor) -> tuple[Tensor, Sequence[int]]:
    """The input with the padding that a convolution cannot do itself, and the padding that is left to it."""
    if module.padding_mode == "zeros" and not isinstance(module.padding, str):
        return inputs, module.padding
    mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
    return F.pad(inputs, _padding_of(module), mode=mode), [0] * (inputs.ndim - 2)


def _padding_of(module: nn.modules.conv._ConvNd) -> list[int]:
    """The padding in the order of `torch.nn.functional.pad`: last dimension first, before and after."""
    amounts: list[int] = []
    for axis in reversed(range(len(module.kernel_size))):
        if module.padding == "same":
            total = module.dilation[axis] * (module.kernel_size[axis] - 1)
            amounts += [total // 2, total - total // 2]
        else:
            each = 0 if isinstance(module.padding, str) else module.padding[axis]
            amounts += [each, each]
    return amounts


def _applied(
    inputs: Tensor, gradient: Tensor, directions: Tensor, module: nn.modules.conv._ConvNd, padding: Sequence[int]
) -> Tensor:
    """``(rows, n_directions)``: one convolution with all directions as output channels, times `gradient`."""
    convolve = (F.conv1d, F.conv2d, F.conv3d)[inputs.ndim - 3]
    outputs = convolve(inputs, directions.flatten(0, 1), None, module.stride, padding, module.dilation)
    by_direction = outputs.reshape(len(inputs), len(directions), -1)
    return torch.bmm(by_direction, gradient.reshape(len(inputs), -1, 1)).squeeze(2)


def _grouped_gradients(
    inputs: Tensor, gradient: Tensor, shape: Sequence[int], module: nn.modules.conv._ConvNd, padding: Sequence[int]
) -> Tensor:
    """Per-sample gradients ``(n, *shape)`` as the weight gradient of one convolution with ``n`` times the groups."""
    n = len(inputs)
    weights = torch.ops.aten.convolution_backward(
        gradient.reshape(1, -1, *gradient.shape[2:]),
        inputs.reshape(1, -1, *inputs.shape[2:]),
        inputs.new_empty((n * shape[0], *shape[1:])),  # only its shape is read
        None,
        module.stride,
        padding,
        module.dilation,
        False,
        [0] * (inputs.ndim - 2),
        n * module.groups,
        [False, True, False],
    )[1]
    return torch.as_tensor(weights).view(n, *shape)


def _unfolded_gradients(
    inputs: Tensor, gradient: Tensor, shape: Sequence[int], module: nn.modules.conv._ConvNd, padding: Sequence[int]
) -> Tensor:
    """Per-sample gradients ``(n, *shape)`` as products of the gradient with the patches of the input; one group."""
    spatial = inputs.ndim - 2
    windows = F.pad(inputs, [side for each in reversed(padding) for side in (each, each)])
    for axis in range(spatial):
        span = module.dilation[axis] * (module.kernel_size[axis] - 1) + 1
        windows = windows.unfold(2 + axis, span, module.stride[axis])[..., :: module.dilation[axis]]
    # (n, channels, *positions, *kernel) -> (n, channels * kernel, positions)
    order = [0, 1, *range(2 + spatial, 2 + 2 * spatial), *range(2, 2 + spatial)]
    patches = windows.permute(order).reshape(len(inputs), -1, gradient[0, 0].numel())
    return torch.bmm(gradient.flatten(2), patches.transpose(1, 2)).view(len(inputs), *shape)
