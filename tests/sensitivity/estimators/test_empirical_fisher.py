from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

import mckp_quant as mq
from mckp_quant.sensitivity import EmpiricalFisher

from ..dense import gauss_newton_values
from ..tiny import conv_net, perceptron, transformer
from .with_targets import FORMATS, Network, dense, layers_of, targets_for

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")


@pytest.mark.parametrize("network", [perceptron, conv_net])
def test_the_empirical_fisher_of_single_losses_equals_the_dense_one(network: Network) -> None:
    model, inputs = network()
    targets = targets_for(inputs)
    table = mq.measure(model, [(inputs, targets)], formats=FORMATS, method=EmpiricalFisher(5))
    np.testing.assert_allclose(table.loss, dense(model, inputs, targets, "empirical_fisher"), rtol=1e-9)


def test_the_empirical_fisher_of_sequences_counts_every_token_by_itself() -> None:
    model, inputs = transformer()
    targets = targets_for(inputs)
    exact = dense(model, inputs, targets, "empirical_fisher")
    batches = [(inputs, targets)] * 150
    table = mq.measure(model, batches, formats=FORMATS, method="empirical_fisher")
    assert np.abs((table.loss - exact) / table.stderr).max() < 3.5
    assert (table.stderr < 0.2 * table.loss).all()


def test_the_error_of_a_single_sequence_is_that_of_its_probes_however_many_tokens_count() -> None:
    model, inputs = transformer()
    targets = targets_for(inputs)[:1].clone()
    targets[:, 1:] = -100
    table = mq.measure(model, [(inputs[:1], targets)], formats=FORMATS, method=EmpiricalFisher(4))
    np.testing.assert_allclose(table.stderr, table.loss * math.sqrt(2 / 4))


@pytest.mark.slow
def test_sampled_targets_make_the_empirical_fisher_the_gauss_newton_value() -> None:
    model, inputs = perceptron()
    p = torch.softmax(model(inputs).detach(), dim=-1)
    sampled = torch.multinomial(p, 600, replacement=True, generator=torch.Generator().manual_seed(0))
    batches = [(inputs, sampled[:, k]) for k in range(600)]
    table = mq.measure(model, batches, formats=FORMATS, method="empirical_fisher")
    exact = torch.stack(
        [
            gauss_newton_values(model, weight.layer.name, inputs, weight.perturbations).mean(dim=0)
            for weight in layers_of(model, inputs)
        ]
    )
    np.testing.assert_allclose(table.loss, exact.detach().numpy(), rtol=0.1)


def test_regression_has_the_squares_of_half_the_squared_error() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 2)).double()
    inputs, targets = torch.randn(5, 3, dtype=torch.float64), torch.randn(5, 2, dtype=torch.float64)
    fisher = mq.measure(
        model,
        [(inputs, targets)],
        formats=FORMATS,
        method="empirical_fisher",
        outputs=mq.Outputs(likelihood="gaussian"),
    )
    (weight,) = layers_of(model, inputs)
    moved = torch.einsum("nd,fcd->nfc", inputs, weight.perturbations)
    error = model(inputs).detach() - targets
    squares = (moved * error[:, None]).sum(dim=2).square().mean(dim=0) / 2
    np.testing.assert_allclose(fisher.loss[0], squares.numpy(), rtol=1e-12)
