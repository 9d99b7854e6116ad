"""curvlinops as an outside oracle: its matrix products against ours, network by network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import mckp_quant as mq
from mckp_quant.sensitivity import HutchPlusPlus

from ..dense import gauss_newton_matrix, hessian_matrix
from ..replicates import weights_of
from ..tiny import CLASSES, conv_net, perceptron

curvlinops: Any = pytest.importorskip(
    "curvlinops", reason="install it and what it needs with --no-deps (it asks for torchvision): see the Makefile"
)

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

FORMATS = "w2,w4"
Network = Callable[[], tuple[nn.Module, Tensor]]


def operators(name: str, model: nn.Module, inputs: Tensor, targets: Tensor) -> list[Any]:
    """One operator on the weight of each layer."""
    kind = getattr(curvlinops, name)
    parameters = [weight.parameters[0] for weight in weights_of(model, inputs, FORMATS)]
    data = [(inputs, targets)]
    return [kind(model, nn.CrossEntropyLoss(), [each], data, check_deterministic=False) for each in parameters]


def drawn(network: Network) -> tuple[nn.Module, Tensor, Tensor]:
    model, inputs = network()
    return model, inputs, torch.randint(0, CLASSES, (len(inputs),), generator=torch.Generator().manual_seed(9))


def quadratic_forms(found: list[Any], model: nn.Module, inputs: Tensor) -> Tensor:
    """``(n_layers, n_formats)``: half the form at every perturbation."""
    rows = []
    for operator, weight in zip(found, weights_of(model, inputs, FORMATS), strict=True):
        flat = weight.perturbations.flatten(1)
        rows.append((flat * (operator @ flat.T).T).sum(dim=1) / 2)
    return torch.stack(rows).detach()


@pytest.mark.parametrize("network", [perceptron, conv_net])
@pytest.mark.parametrize(
    ("name", "dense"), [("GGNLinearOperator", gauss_newton_matrix), ("HessianLinearOperator", hessian_matrix)]
)
def test_the_dense_references_are_its_matrices(network: Network, name: str, dense: Callable[..., Tensor]) -> None:
    model, inputs, targets = drawn(network)
    given = (inputs, targets) if dense is hessian_matrix else (inputs,)
    for operator, weight in zip(
        operators(name, model, inputs, targets), weights_of(model, inputs, FORMATS), strict=True
    ):
        matrix = dense(model, weight.layer.name, *given)
        torch.testing.assert_close(operator @ torch.eye(len(matrix)).double(), matrix, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("network", [perceptron, conv_net])
def test_the_hessian_form_is_its_quadratic_form(network: Network) -> None:
    model, inputs, targets = drawn(network)
    table = mq.measure(model, [(inputs, targets)], formats=FORMATS, method="hessian_form")
    expected = quadratic_forms(operators("HessianLinearOperator", model, inputs, targets), model, inputs)
    np.testing.assert_allclose(table.loss, expected.numpy(), rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("network", [perceptron, conv_net])
def test_gauss_newton_estimates_its_quadratic_form(network: Network) -> None:
    model, inputs, targets = drawn(network)
    table = mq.measure(model, [inputs] * 64, formats=FORMATS)
    expected = quadratic_forms(operators("GGNLinearOperator", model, inputs, targets), model, inputs).numpy()
    # The same inputs in every batch: what varies from batch to batch is the probes alone.
    assert table.contributions is not None
    stderr = table.contributions.std(axis=0, ddof=1) / 8
    assert np.abs((table.loss - expected) / stderr).max() < 4
    assert (stderr < 0.1 * expected).all()


@pytest.mark.slow
def test_its_traces_and_ours_agree_within_their_errors() -> None:
    model, inputs, targets = drawn(perceptron)
    table = mq.measure(model, [(inputs, targets)], formats="w2", method=HutchPlusPlus(16))  # exact
    found = operators("HessianLinearOperator", model, inputs, targets)
    for ours, operator, weight in zip(table.loss[:, 0], found, weights_of(model, inputs, "w2"), strict=True):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            draws = np.array([float(curvlinops.hutchpp_trace(operator, num_matvecs=9)) for _ in range(60)])
        expected = draws / weight.layer.elements * float(weight.perturbations.square().sum()) / 2
        assert abs(ours - expected.mean()) < 3.5 * expected.std(ddof=1) / np.sqrt(60)
