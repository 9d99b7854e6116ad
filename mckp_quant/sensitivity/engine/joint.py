r"""Per-sample products for joint formats: the change from rounding a layer's weight and its input, to first order.

Rounding both moves the output of a call by ``dz = op(Q(x); Q(w)) - op(x; w)``, which is bilinear in input and weight,
so with the gradient ``d`` of the output

.. math:: <d, dz> = <d, op(Q(x); dw)> + <d, op(dx; w)>,

exactly, products of both errors included. The first term is the product of the weight's gradient, taken at the rounded
input, with ``dw``: one contraction for each scheme of inputs, whatever the number of formats of weights. The second is
``<g, dx>`` with ``g`` the gradient that reaches the input through this call, which the backward pass computes anyway.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...rounding.inputs import has_tokens
from .contract import per_sample_products

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn

    from ...rounding.inputs import InputRounding
    from ..columns import Menu


def rounded_inputs(module: nn.Module, inputs: Tensor, roundings: Sequence[InputRounding]) -> list[Tensor]:
    """An input as each scheme stores it."""
    return [each.round(inputs, of_tokens=has_tokens(module)) for each in roundings]


def weight_products(
    module: nn.Module,
    inputs: Sequence[Tensor | None],
    gradient: Tensor,
    perturbations: Tensor,
    menu: Menu,
    samples: int,
) -> Tensor:
    """The first term of every column.

    Parameters
    ----------
    module, gradient, samples
        As for `per_sample_products`.
    inputs
        The input that each scheme stores, after the one that is not rounded; None leaves the columns of a scheme at 0.
    perturbations
        ``(n_weights, *weight.shape)``.
    menu
        What the columns are.

    Returns
    -------
    products
        ``(samples, n_columns)``.
    """
    products = perturbations.new_zeros(samples, len(menu.columns))
    for scheme, given in zip((None, *range(len(menu.schemes))), inputs, strict=True):
        columns = menu.columns_with(scheme)
        used = menu.rounded_weights(columns)
        if not used or given is None:
            continue
        own = perturbations if len(used) == len(perturbations) else perturbations[used]
        found = per_sample_products(module, given, gradient, own, samples)
        for column in columns:
            if menu.columns[column][0] in used:
                products[:, column] = found[:, used.index(menu.columns[column][0])]
    return products


def input_products(gradient: Tensor, errors: Sequence[Tensor], menu: Menu, samples: int) -> Tensor:
    """The second term of every column.

    Parameters
    ----------
    gradient
        Of the objective with respect to the input, through this call.
    errors
        What each scheme adds to the input.
    menu
        What the columns are.
    samples
        How many samples the first dimension is to be split into.

    Returns
    -------
    products
        ``(samples, n_columns)`` in the dtype of the errors.
    """
    products = errors[0].new_zeros(samples, len(menu.columns))
    gradient = gradient.to(errors[0].dtype)
    for scheme, error in enumerate(errors):
        found = (gradient * error).reshape(samples, -1).sum(dim=1)
        products[:, menu.columns_with(scheme)] = found[:, None]
    return products
