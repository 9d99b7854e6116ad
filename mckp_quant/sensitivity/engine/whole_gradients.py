"""Products of autograd's own weight gradients, summed over a batch, with perturbations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from ..task import LayerWeight

_TOLERANCE = 1e-2  # relative: what a use of the weight that hooks do not see may hide in


def summed_product(weight: LayerWeight, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Multiply the gradient of one of a weight's parameters with each perturbation.

    Parameters
    ----------
    weight
        The layer.
    gradient
        Of the shape of its weight; it may be sparse.

    Returns
    -------
    products, squares
        ``(n_formats,)`` float64 on the CPU: the products, and the perturbations' squared norms.
    """
    total = torch.zeros(len(weight.errors), dtype=torch.float64)
    squares = torch.zeros_like(total)
    dense = gradient.to_dense() if gradient.is_sparse else gradient
    for rows, directions in weight.errors.pieces():
        flat = directions.flatten(1)
        total += (flat @ dense[rows].flatten().to(flat.dtype)).to(device="cpu", dtype=torch.float64)
        squares += flat.norm(dim=1).to(device="cpu", dtype=torch.float64).square()
    return total, squares


def agree(product: Tensor, expected: Tensor, dtype: torch.dtype, norm: float) -> bool:
    """Whether a product agrees with that of autograd's gradients, within `_TOLERANCE` and rounding errors.

    Parameters
    ----------
    product, expected
        ``(n_formats,)``.
    dtype
        In which the network computes.
    norm
        The norm of the gradient times that of the largest perturbation.

    Returns
    -------
    agree
        Whether they do.
    """
    rounding = 10 * torch.finfo(dtype).eps * norm
    allowed = _TOLERANCE * max(float(product.norm()), float(expected.norm())) + rounding
    return float((product - expected).norm()) <= allowed
