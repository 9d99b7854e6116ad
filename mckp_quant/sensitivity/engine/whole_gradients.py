"""Products of autograd's own weight gradients, summed over a batch, with perturbations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from ..task import LayerWeight

_TOLERANCE = 1e-2  # relative: what a use of the weight that hooks do not see may hide in


def summed_product(weight: LayerWeight, gradient: Tensor) -> Tensor:
    """``(n_formats,)`` float64 on the CPU: the gradient of one of the weight's parameters times each perturbation."""
    total = torch.zeros(len(weight.errors), dtype=torch.float64)
    dense = gradient.to_dense() if gradient.is_sparse else gradient
    for rows, directions in weight.errors.pieces():
        own = dense[rows].flatten().to(directions.dtype)
        total += (directions.flatten(1) @ own).to(device="cpu", dtype=torch.float64)
    return total


def agree(product: Tensor, expected: Tensor, weight: LayerWeight, norm: float) -> bool:
    """Whether a product agrees with that of autograd's gradients, within `_TOLERANCE` and rounding errors.

    Parameters
    ----------
    product, expected
        ``(n_formats,)``.
    weight
        The layer.
    norm
        The sum of the norms of the gradients.

    Returns
    -------
    agree
        Whether they do.
    """
    size = float(weight.errors.squares().max()) ** 0.5
    rounding = 10 * torch.finfo(weight.parameters[0].dtype).eps * norm * size
    allowed = _TOLERANCE * max(float(product.norm()), float(expected.norm())) + rounding
    return float((product - expected).norm()) <= allowed
