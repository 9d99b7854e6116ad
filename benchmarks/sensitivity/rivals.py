"""PyHessian and curvlinops, as their users call them, for the sensitivity benchmark."""

from __future__ import annotations

import importlib.util
import warnings
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mckp_quant.sensitivity.task import LayerWeight

    Pair = tuple[Tensor, Tensor]


def missing(method: str) -> str | None:
    """The package that a method needs and that is not installed."""
    package = method.split(" ")[0]
    if package in {"pyhessian", "curvlinops"} and importlib.util.find_spec(package) is None:
        return package
    return None


class Flat(nn.Module):
    """The network with one row of logits a token, as the loss of both packages wants it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits ``(samples * tokens, classes)``."""
        logits: Tensor = self.model(inputs)
        return logits.flatten(0, -2)


def pyhessian_trace(
    model: nn.Module, data: Pair, parameters: Sequence[nn.Parameter] | None, draws: int, tolerance: float
) -> list[float]:
    """Its draws of the trace over these parameters (None: all of the network).

    It stops by itself when the running mean moves by less than `tolerance`, which may be long before `draws`.
    """
    import pyhessian

    wanted = {id(each) for each in parameters or model.parameters()}
    for each in model.parameters():
        each.requires_grad_(id(each) in wanted)
        each.grad = None
    with warnings.catch_warnings(), sdpa_kernel(SDPBackend.MATH):
        warnings.simplefilter("ignore")
        found = pyhessian.hessian(Flat(model), nn.CrossEntropyLoss(), data=(data[0], data[1].flatten()), cuda=False)
        traces = found.trace(maxIter=draws, tol=tolerance)
    for each in model.parameters():
        each.requires_grad_(True)
        each.grad = None
    return [float(trace) for trace in traces]


def pyhessian_layers(
    model: nn.Module, weights: Sequence[LayerWeight], batches: Sequence[Pair], draws: int = 1
) -> Tensor:
    """``(n_layers, n_formats)``: HAWQ-V2's ``tr / n * |dw|^2 / 2``, a run of PyHessian for each layer and batch."""
    rows = []
    for weight in weights:
        found = [pyhessian_trace(model, data, weight.parameters, draws, 0.0) for data in batches]
        trace = sum(sum(each) / len(each) for each in found) / len(found)
        squares = weight.perturbations.flatten(1).double().square().sum(dim=1)
        rows.append(trace / weight.layer.elements * squares / 2)
    return torch.stack(rows)


def _operator(name: str, model: nn.Module, parameters: list[nn.Parameter], batches: Sequence[Pair]) -> Any:
    import curvlinops

    data = [(x, y.flatten()) for x, y in batches]
    count = sum(len(y) for _, y in data)
    return getattr(curvlinops, name)(
        Flat(model), nn.CrossEntropyLoss(), parameters, data, check_deterministic=False, num_data=count
    )


def curvlinops_forms(name: str, model: nn.Module, weights: Sequence[LayerWeight], batches: Sequence[Pair]) -> Tensor:
    """``(n_layers, n_formats)``: ``dw' G dw / 2`` with its Gauss-Newton or Hessian operator of each layer."""
    rows = []
    with sdpa_kernel(SDPBackend.MATH):
        for weight in weights:
            operator = _operator(name, model, [weight.parameters[0]], batches)
            flat = weight.perturbations.flatten(1)
            columns = [(each * (operator @ each)).sum(dtype=torch.float64) / 2 for each in flat]
            rows.append(torch.stack(columns))
    return torch.stack(rows).detach()


def curvlinops_product(name: str, model: nn.Module, batches: Sequence[Pair]) -> Callable[[], object]:
    """One product with its operator over all parameters."""
    parameters = list(model.parameters())

    def product() -> object:
        operator = _operator(name, model, parameters, batches)
        vector = torch.ones(sum(each.numel() for each in parameters))
        with sdpa_kernel(SDPBackend.MATH):
            return operator @ vector

    return product


RIVALS: dict[str, Callable[[nn.Module, Sequence[LayerWeight], Sequence[Pair]], Tensor]] = {
    "pyhessian by layer": pyhessian_layers,
    "curvlinops ggn": lambda model, weights, batches: curvlinops_forms("GGNLinearOperator", model, weights, batches),
}
PRODUCTS: dict[str, Callable[[nn.Module, Sequence[Pair]], Callable[[], object]]] = {
    "curvlinops ggn product": lambda model, batches: curvlinops_product("GGNLinearOperator", model, batches),
    "curvlinops hessian product": lambda model, batches: curvlinops_product("HessianLinearOperator", model, batches),
}
