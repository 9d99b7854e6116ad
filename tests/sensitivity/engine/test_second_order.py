"""Products of Hessians with vectors, against dense Hessians."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import mckp_quant as mq
from mckp_quant.network.discovery import discover
from mckp_quant.sensitivity.engine.second_order import hessian_vector_product

from ..dense import hessian_matrix
from ..tiny import CLASSES, conv_net, perceptron

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")

FORMATS = "w2,w4"
Network = Callable[[], tuple[nn.Module, Tensor]]


def targets_for(inputs: Tensor) -> Tensor:
    return torch.randint(0, CLASSES, inputs.shape[:1], generator=torch.Generator().manual_seed(9))


@pytest.mark.parametrize("network", [perceptron, conv_net])
def test_hessian_vector_products_equal_the_dense_hessian(network: Network) -> None:
    model, inputs = network()
    targets = targets_for(inputs)
    generator = torch.Generator().manual_seed(2)
    for layer in discover(model, inputs):
        weight = model.get_parameter(f"{layer.name}.weight")
        vector = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
        loss = F.cross_entropy(model(inputs), targets)
        gradients = torch.autograd.grad(loss, [weight], create_graph=True)
        (product,) = hessian_vector_product(gradients, [weight], [vector])
        expected = hessian_matrix(model, layer.name, inputs, targets) @ vector.flatten()
        torch.testing.assert_close(product.flatten(), expected, rtol=1e-9, atol=1e-12)


def test_hessian_vector_products_couple_all_weights() -> None:
    a, b = torch.tensor([1.0, 2.0], requires_grad=True), torch.tensor([3.0], requires_grad=True)
    gradients = torch.autograd.grad((a.square().sum() * b).sum(), [a, b], create_graph=True)
    products = hessian_vector_product(gradients, [a, b], [torch.tensor([1.0, 1.0]), torch.tensor([2.0])])
    torch.testing.assert_close(products[0], torch.tensor([2 * 3 + 2 * 1 * 2.0, 2 * 3 + 2 * 2 * 2.0]))
    torch.testing.assert_close(products[1], torch.tensor([2 * 1 + 2 * 2.0]))


def test_a_linear_function_has_zero_hessian_vector_products() -> None:
    a = torch.ones(3, requires_grad=True)
    gradients = torch.autograd.grad(a.sum(), [a], create_graph=True)
    (product,) = hessian_vector_product(gradients, [a], [torch.ones(3)])
    torch.testing.assert_close(product, torch.zeros(3))


class Distances(nn.Linear):
    """Distances for which PyTorch has no second derivative."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cdist(super().forward(x), torch.eye(3), p=3.0)


def test_a_model_without_second_derivatives_is_refused() -> None:
    pair = (torch.ones(2, 4), torch.tensor([0, 1]))
    with pytest.raises(mq.InvalidInput, match=r"cannot be differentiated twice \(.*method='gauss_newton'"):
        mq.measure(Distances(4, 3), [pair], formats=FORMATS, method="hutchinson")
