from __future__ import annotations

import functools
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
from mckp_quant.sensitivity import GaussNewton
from mckp_quant.sensitivity.cache import layer_weights

from ..dense import gauss_newton_matrix, gauss_newton_values, hessian_matrix
from ..tiny import CLASSES, conv_net, perceptron, transformer

if TYPE_CHECKING:
    from numpy.typing import NDArray

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")

FORMATS = "w1,w2,w4"
Network = Callable[[], tuple[nn.Module, Tensor]]
NETWORKS: dict[str, Network] = {
    "perceptron": perceptron,
    "conv_net": conv_net,
    "transformer": transformer,
    "transformer, untied": functools.partial(transformer, tied=False),
}


def dense_values(model: nn.Module, inputs: Tensor, *, gaussian: bool = False) -> NDArray[np.float64]:
    """``(n, n_layers, n_formats)``, the exact value of each sample."""
    weights = layer_weights(model, discover(model, inputs), as_formats(FORMATS))
    rows = [
        gauss_newton_values(model, weight.layer.name, inputs, weight.perturbations, gaussian=gaussian)
        for weight in weights
    ]
    return torch.stack(rows, dim=1).detach().numpy()


def drawn_from(inputs: Tensor, samples: int, batch: int, seed: int) -> list[Tensor]:
    """Batches of samples drawn with replacement, so that the dense value over `inputs` is their expectation."""
    picks = torch.randint(0, len(inputs), (samples,), generator=torch.Generator().manual_seed(seed))
    return list(inputs[picks].split(batch))


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("likelihood", ["categorical", "gaussian"])
def test_estimates_lie_within_three_standard_errors_of_the_dense_matrix(name: str, likelihood: str) -> None:
    model, inputs = NETWORKS[name]()
    exact = dense_values(model, inputs, gaussian=likelihood == "gaussian").mean(axis=0)
    table = mq.measure(
        model, drawn_from(inputs, 2048, 32, 1), formats=FORMATS, outputs=mq.Outputs(likelihood=likelihood)
    )
    z = (table.loss - exact) / table.stderr
    assert np.abs(z).max() < 3
    assert (table.stderr < 0.5 * table.loss).all()


@pytest.mark.slow
def test_the_error_falls_with_the_square_root_of_the_number_of_probes() -> None:
    model, inputs = perceptron()
    exact = dense_values(model, inputs).mean(axis=0)

    def error(probes: int) -> float:
        tables = [
            mq.measure(model, [inputs], formats=FORMATS, method=GaussNewton(probes), run=mq.RunOptions(seed=seed))
            for seed in range(24)
        ]
        return float(np.sqrt(np.mean([np.square(table.loss / exact - 1) for table in tables])))

    assert 3 < error(1) / error(16) < 5.3


@pytest.mark.slow
def test_the_error_falls_with_the_square_root_of_the_number_of_samples() -> None:
    model, inputs = perceptron()
    exact = dense_values(model, inputs).mean(axis=0)

    def error(samples: int) -> float:
        tables = [
            mq.measure(model, drawn_from(inputs, samples, samples, seed), formats=FORMATS, run=mq.RunOptions(seed=seed))
            for seed in range(40)
        ]
        return float(np.sqrt(np.mean([np.square(table.loss / exact - 1) for table in tables])))

    assert 3 < error(64) / error(1024) < 5.3


def test_one_batch_of_samples_that_cannot_be_told_apart_has_the_standard_error_of_a_squared_normal() -> None:
    model, inputs = transformer()
    for probes in (1, 4):
        table = mq.measure(model, [inputs], formats=FORMATS, method=GaussNewton(probes))
        row = table.row("pos")
        np.testing.assert_allclose(table.stderr[row], table.loss[row] * math.sqrt(2 / probes), rtol=1e-12)


@pytest.mark.parametrize("name", ["conv_net"])
def test_with_relu_and_fixed_batch_norm_the_hessian_is_the_gauss_newton_matrix(name: str) -> None:
    model, inputs = NETWORKS[name]()
    targets = torch.randint(0, CLASSES, (len(inputs),), generator=torch.Generator().manual_seed(0))
    for layer in discover(model, inputs):
        matrix = gauss_newton_matrix(model, layer.name, inputs)
        torch.testing.assert_close(hessian_matrix(model, layer.name, inputs, targets), matrix, rtol=1e-9, atol=1e-12)


def test_contributions_average_to_the_loss_with_their_weights() -> None:
    model, inputs = transformer()
    table = mq.measure(model, list(inputs.split([5, 1, 2])), formats=FORMATS, method=GaussNewton(2))
    assert table.contributions is not None
    assert table.batch_sizes is not None
    np.testing.assert_array_equal(table.batch_sizes, [5, 1, 2])
    np.testing.assert_allclose(
        np.average(table.contributions, axis=0, weights=table.batch_sizes), table.loss, rtol=1e-12
    )
    assert table.samples == 8
    assert table.unit == "nats per token"


def test_a_batch_contributes_the_same_whatever_follows_it() -> None:
    model, inputs = conv_net()
    short = mq.measure(model, [inputs[:4]], formats=FORMATS)
    long = mq.measure(model, [inputs[:4], inputs[4:]], formats=FORMATS)
    assert short.contributions is not None
    assert long.contributions is not None
    np.testing.assert_array_equal(short.contributions[0], long.contributions[0])


def test_scaling_a_perturbation_scales_the_loss_with_its_square() -> None:
    model, inputs = perceptron()
    formats = [
        mq.Format(f"x{factor}", 8, quantize=functools.partial(scaled, 1 + factor / 100), stored_bits=one_bit)
        for factor in (1, 2, 8)
    ]
    table = mq.measure(model, [inputs], formats=formats)
    np.testing.assert_allclose(table.loss[:, 1:] / table.loss[:, :1], [[4, 64]] * 2, rtol=1e-9)


def scaled(factor: float, weight: Tensor) -> Tensor:
    return factor * weight


def one_bit(layer: mq.Layer) -> int:
    return layer.elements


def test_bfloat16_weights_give_what_float32_gives() -> None:
    model, inputs = conv_net()
    model = model.bfloat16()
    half = mq.measure(model, [inputs.bfloat16()], formats="w2,w3")
    full = mq.measure(model.float(), [inputs.bfloat16().float()], formats="w2,w3")
    np.testing.assert_allclose(half.loss, full.loss, rtol=0.25)


def test_a_gradient_that_overflows_is_refused() -> None:
    model, inputs = perceptron()
    model.get_parameter("head.weight").data[0, 0] = 1e200
    with pytest.raises(mq.InvalidInput, match="the estimate of layer 'inner' in format 'w1' is not finite on batch 0"):
        mq.measure(model, [inputs * 1e200], formats=FORMATS, outputs=mq.Outputs(likelihood="gaussian"))
