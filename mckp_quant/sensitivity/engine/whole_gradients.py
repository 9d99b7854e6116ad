"""Products of autograd's own weight gradients, summed over a batch, with perturbations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..task import LayerWeight

_TOLERANCE = 1e-2  # relative: what a use of the weight that hooks do not see may hide in


def summed_product(weight: LayerWeight, gradients: dict[nn.Parameter, Tensor | None]) -> Tensor:
    """``(n_formats,)`` float64 on the CPU: the weight's whole gradient times each perturbation."""
    total = torch.zeros(len(weight.errors), dtype=torch.float64)
    found = [gradients[parameter] for parameter in weight.parameters]
    dense = [each.to_dense() if each.is_sparse else each for each in found if each is not None]
    for rows, directions in weight.errors.pieces() if dense else ():
        for gradient in dense:
            own = gradient[rows].flatten().to(directions.dtype)
            total += (directions.flatten(1) @ own).to(device="cpu", dtype=torch.float64)
    return total


def agree(product: Tensor, expected: Tensor, weight: LayerWeight, gradients: dict[nn.Parameter, Tensor | None]) -> bool:
    """Whether a product agrees with the one from autograd's gradients, within `_TOLERANCE` and rounding errors."""
    norms = [float(gradient.norm()) for each in weight.parameters if (gradient := gradients[each]) is not None]
    size = float(weight.errors.squares().max()) ** 0.5
    rounding = 10 * torch.finfo(weight.parameters[0].dtype).eps * sum(norms) * size
    allowed = _TOLERANCE * max(float(product.norm()), float(expected.norm())) + rounding
    return float((product - expected).norm()) <= allowed
