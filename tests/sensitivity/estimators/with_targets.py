"""Dense references of estimators that use targets: first order, empirical Fisher, Hessian form."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mckp_quant.formats.format import as_formats
from mckp_quant.network.discovery import discover
from mckp_quant.sensitivity.cache import layer_weights

from ..dense import hessian_matrix, jacobian
from ..tiny import CLASSES, conv_net, perceptron, transformer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mckp_quant.sensitivity.task import LayerWeight

FORMATS = "w2,w4"
Network = Callable[[], tuple[nn.Module, Tensor]]
NETWORKS = (perceptron, conv_net, transformer)


def targets_for(inputs: Tensor) -> Tensor:
    shape = inputs.shape if inputs.dtype == torch.int64 else inputs.shape[:1]
    return torch.randint(0, CLASSES, shape, generator=torch.Generator().manual_seed(9))


def layers_of(model: nn.Module, inputs: Tensor) -> tuple[LayerWeight, ...]:
    return layer_weights(model, discover(model, inputs), as_formats(FORMATS))


def first_order_values(model: nn.Module, inputs: Tensor, targets: Tensor, weight: LayerWeight) -> Tensor:
    """``(n, positions, n_formats)``: g . dw of each position's own loss."""
    p = torch.softmax(model(inputs).detach(), dim=-1).reshape(len(inputs), -1, CLASSES)
    error = p - torch.nn.functional.one_hot(targets.reshape(len(inputs), -1), CLASSES)
    j = jacobian(model, weight.layer.name, inputs)
    return torch.einsum("ntc,ntcw,fw->ntf", error, j, weight.perturbations.flatten(1))


def dense(model: nn.Module, inputs: Tensor, targets: Tensor, method: str) -> NDArray[np.float64]:
    rows = []
    for weight in layers_of(model, inputs):
        if method == "hessian_form":
            flat = weight.perturbations.flatten(1)
            rows.append(
                torch.einsum("fw,wv,fv->f", flat, hessian_matrix(model, weight.layer.name, inputs, targets), flat) / 2
            )
            continue
        values = first_order_values(model, inputs, targets, weight)
        rows.append((values if method == "first_order" else values.square() / 2).mean(dim=(0, 1)))
    return torch.stack(rows).detach().numpy()
