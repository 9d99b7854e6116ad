from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import mckp_quant as mq

from ..tiny import transformer
from .with_targets import FORMATS, NETWORKS, Network, dense, first_order_values, layers_of, targets_for

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")


@pytest.mark.parametrize("network", NETWORKS)
def test_the_exact_form_equals_the_dense_one(network: Network) -> None:
    model, inputs = network()
    targets = targets_for(inputs)
    batches = list(zip(inputs.split(3), targets.split(3), strict=True))
    table = mq.measure(model, batches, formats=FORMATS, method="first_order")
    np.testing.assert_allclose(table.loss, dense(model, inputs, targets, "first_order"), rtol=1e-9, atol=1e-13)


def test_regression_has_the_first_order_change_of_half_the_squared_error() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 2)).double()
    inputs, targets = torch.randn(5, 3, dtype=torch.float64), torch.randn(5, 2, dtype=torch.float64)
    table = mq.measure(
        model, [(inputs, targets)], formats=FORMATS, method="first_order", outputs=mq.Outputs(likelihood="gaussian")
    )
    (weight,) = layers_of(model, inputs)
    moved = torch.einsum("nd,fcd->nfc", inputs, weight.perturbations)
    error = model(inputs).detach() - targets
    np.testing.assert_allclose(table.loss[0], (moved * error[:, None]).sum(dim=2).mean(dim=0).numpy(), rtol=1e-12)


def test_targets_in_part_of_a_sequence_give_the_mean_over_that_part() -> None:
    model, inputs = transformer()
    targets = targets_for(inputs)
    targets[:, 3:] = -100
    targets[0] = -100
    first = mq.measure(
        model, list(zip(inputs.split(3), targets.split(3), strict=True)), formats=FORMATS, method="first_order"
    )
    weights = layers_of(model, inputs)
    exact = [
        first_order_values(model, inputs, targets.clamp(min=0), weight)[1:, :3].mean(dim=(0, 1)) for weight in weights
    ]
    np.testing.assert_allclose(first.loss, torch.stack(exact).detach().numpy(), rtol=1e-9, atol=1e-13)
