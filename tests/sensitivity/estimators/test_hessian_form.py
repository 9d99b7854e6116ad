from __future__ import annotations

import numpy as np
import pytest
import torch

import mckp_quant as mq

from ..dense import gauss_newton_matrix
from ..tiny import CLASSES, conv_net, perceptron
from .with_targets import FORMATS, NETWORKS, Network, dense, layers_of, targets_for

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")


@pytest.mark.parametrize("network", NETWORKS)
def test_the_exact_form_equals_the_dense_one(network: Network) -> None:
    model, inputs = network()
    targets = targets_for(inputs)
    batches = list(zip(inputs.split(3), targets.split(3), strict=True))
    table = mq.measure(model, batches, formats=FORMATS, method="hessian_form")
    np.testing.assert_allclose(table.loss, dense(model, inputs, targets, "hessian_form"), rtol=1e-9, atol=1e-13)


def test_a_relu_network_has_the_same_hessian_form_whatever_the_targets_and_gauss_newton_estimates_it() -> None:
    model, inputs = conv_net()
    forms = [
        mq.measure(model, [(inputs, targets)], formats=FORMATS, method="hessian_form").loss
        for targets in (targets_for(inputs), targets_for(inputs).flip(0))
    ]
    np.testing.assert_allclose(forms[0], forms[1], rtol=1e-9)
    for row, weight in enumerate(layers_of(model, inputs)):
        matrix = gauss_newton_matrix(model, weight.layer.name, inputs)
        flat = weight.perturbations.flatten(1)
        np.testing.assert_allclose(
            forms[0][row], (torch.einsum("fw,wv,fv->f", flat, matrix, flat) / 2).detach().numpy(), rtol=1e-9
        )
    estimated = mq.measure(model, [inputs] * 40, formats=FORMATS)
    assert np.abs((estimated.loss - forms[0]) / estimated.stderr).max() < 4


def test_a_form_may_be_negative_and_is_kept() -> None:
    model, inputs = perceptron(3)
    losses = [
        mq.measure(model, [(inputs, torch.full((12,), target))], formats=FORMATS, method="hessian_form").loss
        for target in range(CLASSES)
    ]
    assert min(loss.min() for loss in losses) < 0
