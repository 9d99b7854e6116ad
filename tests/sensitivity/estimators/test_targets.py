"""Estimators that use targets, against dense references: first order, empirical Fisher, Hessian form."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import mckp_quant as mq
from mckp_quant.formats.format import as_formats
from mckp_quant.network.discovery import discover
from mckp_quant.sensitivity import EmpiricalFisher, Hutchinson, HutchinsonBlockwise
from mckp_quant.sensitivity.measuring import layer_weights

from ..dense import gauss_newton_matrix, gauss_newton_values, hessian_matrix, jacobian
from ..tiny import CLASSES, conv_net, perceptron, transformer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mckp_quant.sensitivity.task import LayerWeight

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")

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


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("method", ["first_order", "hessian_form"])
def test_exact_forms_equal_the_dense_ones(network: Network, method: str) -> None:
    model, inputs = network()
    targets = targets_for(inputs)
    batches = list(zip(inputs.split(3), targets.split(3), strict=True))
    table = mq.measure(model, batches, formats=FORMATS, method=method)
    np.testing.assert_allclose(table.loss, dense(model, inputs, targets, method), rtol=1e-9, atol=1e-13)


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
    fisher = mq.measure(
        model,
        [(inputs, targets)],
        formats=FORMATS,
        method="empirical_fisher",
        outputs=mq.Outputs(likelihood="gaussian"),
    )
    squares = (moved * error[:, None]).sum(dim=2).square().mean(dim=0) / 2
    np.testing.assert_allclose(fisher.loss[0], squares.numpy(), rtol=1e-12)


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


def test_a_form_may_be_negative_and_is_kept() -> None:
    model, inputs = perceptron(3)
    losses = [
        mq.measure(model, [(inputs, torch.full((12,), target))], formats=FORMATS, method="hessian_form").loss
        for target in range(CLASSES)
    ]
    assert min(loss.min() for loss in losses) < 0


@pytest.mark.parametrize("network", NETWORKS)
def test_blockwise_traces_lie_within_three_standard_errors_of_the_dense_trace(network: Network) -> None:
    model, inputs = network()
    targets = targets_for(inputs)
    rows = []
    for weight in layers_of(model, inputs):
        average = hessian_matrix(model, weight.layer.name, inputs, targets).trace() / weight.layer.elements
        rows.append(average * weight.perturbations.flatten(1).square().sum(dim=1) / 2)
    exact = torch.stack(rows).detach().numpy()
    table = mq.measure(model, [(inputs, targets)], formats=FORMATS, method=HutchinsonBlockwise(64))
    joint = mq.measure(model, [(inputs, targets)], formats=FORMATS, method=Hutchinson(64))
    assert np.abs((table.loss - exact) / table.stderr).max() < 3.5
    assert np.median(table.stderr / joint.stderr) < 1
