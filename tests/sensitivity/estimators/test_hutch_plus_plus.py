"""Stochastic traces against dense ones: hits within the stated errors, and what Hutch++ gains."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import mckp_quant as mq
from mckp_quant.sensitivity import Hutchinson, HutchinsonBlockwise, HutchPlusPlus

from ..dense import hessian_matrix
from ..replicates import measured, weights_of
from ..tiny import CLASSES, conv_net, perceptron, transformer

if TYPE_CHECKING:
    from numpy.typing import NDArray

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")

FORMATS = "w2"
Network = Callable[[], tuple[nn.Module, Tensor]]


def pair(network: Network) -> tuple[nn.Module, tuple[Tensor, Tensor]]:
    model, inputs = network()
    shape = inputs.shape if inputs.dtype == torch.int64 else inputs.shape[:1]
    return model, (inputs, torch.randint(0, CLASSES, shape, generator=torch.Generator().manual_seed(9)))


def dense_values(model: nn.Module, inputs: Tensor, targets: Tensor) -> NDArray[np.float64]:
    """``(n_layers, 1)``: average trace times half the squared perturbation."""
    rows = []
    for weight in weights_of(model, inputs, FORMATS):
        trace = hessian_matrix(model, weight.layer.name, inputs, targets).trace()
        rows.append(trace / weight.layer.elements * weight.perturbations.flatten(1).square().sum(dim=1) / 2)
    return torch.stack(rows).detach().numpy()


@pytest.mark.slow
def test_two_hundred_seeds_keep_to_their_standard_errors() -> None:
    model, batch = pair(perceptron)
    exact = dense_values(model, *batch)
    found, stderr = measured(model, weights_of(model, batch[0], FORMATS), lambda seed: [batch], Hutchinson(100), 200)
    z = np.abs((found - exact) / stderr)
    assert np.mean(z <= 3) >= 0.99
    assert z.max() <= 5
    assert (stderr > 0.02 * exact).all()


@pytest.mark.parametrize("network", [perceptron, conv_net, transformer])
def test_hutch_plus_plus_lies_within_its_errors_of_the_dense_trace(network: Network) -> None:
    model, batch = pair(network)
    table = mq.measure(model, [batch] * 12, formats=FORMATS, method=HutchPlusPlus(3))
    exact = dense_values(model, *batch)
    assert (np.abs(table.loss - exact) <= 4 * table.stderr + 1e-9 * np.abs(exact)).all()


def test_hutch_plus_plus_is_exact_with_a_probe_for_every_weight() -> None:
    model, batch = pair(perceptron)
    table = mq.measure(model, [batch], formats=FORMATS, method=HutchPlusPlus(16))
    np.testing.assert_allclose(table.loss, dense_values(model, *batch), rtol=1e-9)


@pytest.mark.slow
def test_hutch_plus_plus_has_less_spread_than_as_many_plain_products_where_the_rank_is_low() -> None:
    model, batch = pair(conv_net)
    weights = weights_of(model, batch[0], FORMATS)
    plain, _ = measured(model, weights, lambda seed: [batch], HutchinsonBlockwise(15), 24)
    deflated, _ = measured(model, weights, lambda seed: [batch], HutchPlusPlus(5), 24)
    assert (deflated.std(axis=0) < 0.7 * plain.std(axis=0)).all()
