"""Dense references by torch.func: Jacobians, Hessians and Gauss-Newton values of one layer's weight."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.func import functional_call, hessian, jacrev
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

if TYPE_CHECKING:
    from collections.abc import Callable


def logits_of(model: nn.Module, name: str, inputs: Tensor) -> Callable[[Tensor], Tensor]:
    """The logits as a function of the weight of one layer, everything else held."""

    def function(weight: Tensor) -> Tensor:
        logits: Tensor = functional_call(model, {f"{name}.weight": weight}, (inputs,), tie_weights=True)
        return logits

    return function


def jacobian(model: nn.Module, name: str, inputs: Tensor) -> Tensor:
    """``(n, positions, classes, weights)``."""
    weight = model.get_parameter(f"{name}.weight").detach()
    with sdpa_kernel(SDPBackend.MATH):
        full = jacrev(logits_of(model, name, inputs))(weight).flatten(-weight.ndim)
    by_position: Tensor = full[:, None] if full.ndim == 3 else full
    return by_position


def curvature(logits: Tensor) -> Tensor:
    """``(n, positions, classes, classes)``: diag(p) - p p'."""
    p = torch.softmax(logits[:, None] if logits.ndim == 2 else logits, dim=-1)
    return torch.diag_embed(p) - p[..., :, None] * p[..., None, :]


def gauss_newton_values(
    model: nn.Module, name: str, inputs: Tensor, directions: Tensor, *, gaussian: bool = False
) -> Tensor:
    """``(n, n_formats)``: ``dw' J_n' S_n J_n dw / 2`` of each sample, averaged over its positions."""
    j = jacobian(model, name, inputs)
    s = curvature(model(inputs).detach())
    if gaussian:
        s = torch.eye(s.shape[-1], dtype=s.dtype).expand_as(s)
    moved = torch.einsum("ntcw,fw->ntcf", j, directions.flatten(1))
    return torch.einsum("ntcf,ntcd,ntdf->nf", moved, s, moved) / (2 * j.shape[1])


def gauss_newton_matrix(model: nn.Module, name: str, inputs: Tensor) -> Tensor:
    """``(weights, weights)``, averaged over samples and positions."""
    j = jacobian(model, name, inputs)
    s = curvature(model(inputs).detach())
    return torch.einsum("ntcw,ntcd,ntdv->wv", j, s, j) / (j.shape[0] * j.shape[1])


def hessian_matrix(model: nn.Module, name: str, inputs: Tensor, targets: Tensor) -> Tensor:
    """``(weights, weights)``: of the mean cross-entropy."""
    weight = model.get_parameter(f"{name}.weight").detach()
    logits = logits_of(model, name, inputs)

    def loss(flat: Tensor) -> Tensor:
        return F.cross_entropy(logits(flat.view_as(weight)).flatten(0, -2), targets.flatten())

    with sdpa_kernel(SDPBackend.MATH):
        matrix: Tensor = hessian(loss)(weight.flatten())
    return matrix
