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
    directions = weight.perturbations
    total = torch.zeros(len(directions), dtype=torch.float64)
    for parameter in weight.parameters:
        gradient = gradients[parameter]
        if gradient is not None:
            dense = gradient.to_dense() if gradient.is_sparse else gradient
            total += (directions.flatten(1) @ dense.flatten().to(directions.dtype)).to(
                device="cpu", dtype=torch.float64
            )
    return total


def agree(product: Tensor, expected: Tensor, weight: LayerWeight, gradients: dict[nn.Parameter, Tensor | None]) -> bool:
    """Whether a product agrees with the one from autograd's gradients, within `_TOLERANCE` and rounding errors."""
    norms = [float(gradient.norm()) for each in weight.parameters if (gradient := gradients[each]) is not None]
    sizes = weight.perturbations.flatten(1).norm(dim=1).to(device="cpu", dtype=torch.float64)
    rounding = 10 * torch.finfo(weight.parameters[0].dtype).eps * sum(norms) * float(sizes.max())
    allowed = _TOLERANCE * max(float(product.norm()), float(expected.norm())) + rounding
    return float((product - expected).norm()) <= allowed
