from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import mckp_quant as mq
from mckp_quant.formats.format import as_formats
from mckp_quant.network.discovery import discover
from mckp_quant.sensitivity import Hutchinson, HutchinsonBlockwise
from mckp_quant.sensitivity.cache import layer_weights

from ..dense import hessian_matrix
from ..tiny import CLASSES, conv_net, perceptron, transformer

if TYPE_CHECKING:
    from numpy.typing import NDArray

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")

FORMATS = "w2,w4"
Network = Callable[[], tuple[nn.Module, Tensor]]


def targets_for(inputs: Tensor) -> Tensor:
    shape = inputs.shape if inputs.dtype == torch.int64 else inputs.shape[:1]
    return torch.randint(0, CLASSES, shape, generator=torch.Generator().manual_seed(9))


def dense_values(model: nn.Module, inputs: Tensor, targets: Tensor) -> NDArray[np.float64]:
    """``(n_layers, n_formats)``: average trace times half the squared perturbation."""
    rows = []
    for weight in layer_weights(model, discover(model, inputs), as_formats(FORMATS)):
        matrix = hessian_matrix(model, weight.layer.name, inputs, targets)
        squares = weight.perturbations.flatten(1).square().sum(dim=1)
        rows.append(matrix.trace() / weight.layer.elements * squares / 2)
    return torch.stack(rows).detach().numpy()


@pytest.mark.parametrize("network", [perceptron, conv_net, transformer])
@pytest.mark.parametrize("estimator", [Hutchinson(256), HutchinsonBlockwise(128)])
def test_estimates_lie_within_three_standard_errors_of_the_dense_trace(
    network: Network, estimator: Hutchinson | HutchinsonBlockwise
) -> None:
    model, inputs = network()
    targets = targets_for(inputs)
    exact = dense_values(model, inputs, targets)
    table = mq.measure(model, [(inputs, targets)], formats=FORMATS, method=estimator)
    assert np.abs((table.loss - exact) / table.stderr).max() < 3
    assert table.unit == ("nats per token" if network is transformer else "nats per sample")


def test_the_error_falls_with_the_square_root_of_the_number_of_probes() -> None:
    model, inputs = perceptron()
    targets = targets_for(inputs)
    exact = dense_values(model, inputs, targets)

    def error(probes: int) -> float:
        tables = [
            mq.measure(
                model, [(inputs, targets)], formats=FORMATS, method=Hutchinson(probes), run=mq.RunOptions(seed=seed)
            )
            for seed in range(24)
        ]
        return float(np.sqrt(np.mean([np.square(table.loss / exact - 1) for table in tables])))

    assert 3 < error(2) / error(32) < 5.3


def test_the_standard_error_of_a_single_draw_is_unknown() -> None:
    model, inputs = perceptron()
    table = mq.measure(model, [(inputs, targets_for(inputs))], formats=FORMATS, method="hutchinson")
    assert np.isnan(table.stderr).all()
    assert np.isfinite(table.loss).all()


def test_contributions_average_to_the_loss_with_their_weights() -> None:
    model, inputs = perceptron()
    pairs = list(zip(inputs.split([7, 5]), targets_for(inputs).split([7, 5]), strict=True))
    table = mq.measure(model, pairs, formats=FORMATS, method=Hutchinson(2))
    assert table.contributions is not None
    np.testing.assert_allclose(np.average(table.contributions, axis=0, weights=[7, 5]), table.loss, rtol=1e-12)


def test_negative_traces_are_kept() -> None:
    model, inputs = perceptron()
    tables = [
        mq.measure(
            model, [(inputs, targets_for(inputs))], formats=FORMATS, method="hutchinson", run=mq.RunOptions(seed=seed)
        )
        for seed in range(20)
    ]
    assert min(table.loss.min() for table in tables) < 0


def test_regression_uses_half_the_squared_error() -> None:
    model = nn.Sequential(nn.Linear(4, 2, bias=False)).double().eval()
    inputs = torch.randn(6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    table = mq.measure(
        model,
        [(inputs, torch.zeros(6, 2).double())],
        formats=FORMATS,
        method=Hutchinson(512),
        outputs=mq.Outputs(likelihood="gaussian"),
    )
    (weight,) = layer_weights(model, discover(model, inputs), as_formats(FORMATS))
    average = float(inputs.square().sum(dim=1).mean() / 4)
    exact = average * weight.perturbations.flatten(1).square().sum(dim=1).numpy() / 2
    assert np.abs((table.loss - exact) / table.stderr).max() < 3


def test_targets_are_required() -> None:
    model, inputs = perceptron()
    with pytest.raises(mq.InvalidInput, match="batch 0 has no targets, and method='hutchinson' needs them"):
        mq.measure(model, [inputs], formats=FORMATS, method="hutchinson")


def test_a_trace_that_is_not_finite_is_refused() -> None:
    model, inputs = perceptron()
    inputs[0, 0] = torch.nan
    with pytest.raises(mq.InvalidInput, match="the estimate of layer 'inner' in format 'w2' is not finite on batch 0"):
        mq.measure(model, [(inputs, targets_for(inputs))], formats=FORMATS, method="hutchinson")
