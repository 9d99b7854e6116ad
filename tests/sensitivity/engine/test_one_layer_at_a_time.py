from __future__ import annotations

import functools
import logging
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import mckp_quant as mq
from mckp_quant.evaluation.evaluator import evaluate
from mckp_quant.evaluation.simulation import apply

from ..tiny import CLASSES, ConvNet, conv_net, perceptron, transformer

FORMATS = "w2,w4"
Network = Callable[[], tuple[nn.Module, Tensor]]


class Residual(nn.Module):
    """Overwrites outputs in place in every way that published networks do."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.block = ConvNet()
        self.block.first = nn.Conv2d(4, 4, 3, padding=1)
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.shortcut = nn.Conv2d(4, 4, 1)
        self.last = nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        self.relu(x)
        out = self.conv(x)
        out += self.shortcut(x)
        out = self.relu(out)
        out.mul_(1.5)
        x = self.last(out)
        out.add_(x)
        logits: Tensor = self.block(out)
        return logits


class UsesWeightEarly(nn.Module):
    """Takes a layer's weight before the layer is called."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x + x @ self.second.weight.T @ self.second.weight)
        out: Tensor = self.second(torch.tanh(x))
        return out


def residual() -> tuple[nn.Module, Tensor]:
    torch.manual_seed(4)
    return Residual().double().eval(), conv_net()[1]


def early() -> tuple[nn.Module, Tensor]:
    torch.manual_seed(4)
    return UsesWeightEarly().double(), perceptron()[1]


NETWORKS: dict[str, Network] = {
    "perceptron": perceptron,
    "conv_net": conv_net,
    "residual": residual,
    "early": early,
    "transformer": transformer,
    "transformer, weight of positions used directly": functools.partial(transformer, positions="weight"),
}


def pairs(inputs: Tensor) -> list[tuple[Tensor, Tensor]]:
    shape = inputs.shape if inputs.dtype == torch.int64 else inputs.shape[:1]
    targets = torch.randint(0, CLASSES, shape, generator=torch.Generator().manual_seed(5))
    targets.flatten()[0] = -100
    return list(zip(inputs.split(5), targets.split(5), strict=True))


@pytest.mark.parametrize("name", NETWORKS)
def test_entries_are_what_evaluate_finds_of_the_applied_policy(name: str) -> None:
    model, inputs = NETWORKS[name]()
    batches = pairs(inputs)
    kl = mq.measure(model, batches, formats=FORMATS, method="measured_kl")
    loss = mq.measure(model, batches, formats=FORMATS, method="measured_loss")
    before = evaluate(model, model, batches).loss
    for row, layer in enumerate(kl.layer_names):
        for column, entry in enumerate(kl.formats):
            one = mq.Policy(layer_names=(layer,), formats=(entry,))
            found = evaluate(apply(model, one), model, batches)
            np.testing.assert_allclose(kl.loss[row, column], found.kl, rtol=1e-8, atol=1e-15)
            np.testing.assert_allclose(kl.stderr[row, column], found.kl_stderr, rtol=1e-8, atol=1e-15)
            np.testing.assert_allclose(loss.loss[row, column], found.loss - before, rtol=1e-8, atol=1e-13)


def test_small_perturbations_have_the_divergence_that_gauss_newton_predicts() -> None:
    model, inputs = conv_net()
    tiny = mq.Format("tiny", 8, quantize=slightly_larger, stored_bits=one_bit)
    measured = mq.measure(model, [inputs], formats=[tiny], method="measured_kl")
    targets = torch.zeros(len(inputs), dtype=torch.int64)
    predicted = mq.measure(model, [(inputs, targets)], formats=[tiny], method="hessian_form")
    np.testing.assert_allclose(measured.loss, predicted.loss, rtol=2e-2)


def slightly_larger(weight: Tensor) -> Tensor:
    return weight * (1 + 1e-3)


def one_bit(layer: mq.Layer) -> int:
    return layer.elements


def test_a_network_that_overflows_is_refused_by_layer_and_format() -> None:
    model = nn.Sequential(nn.Linear(4, 3))
    huge = mq.Format("huge", 8, quantize=lambda weight: torch.full_like(weight, 3e38), stored_bits=one_bit)
    with pytest.raises(mq.InvalidInput, match="layer '0' in format 'huge' is not finite on batch 0"):
        mq.measure(model, [torch.ones(5, 4)], formats=["w4", huge], method="measured_kl")


class Counting(nn.Linear):
    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        type(self).calls += 1
        return super().forward(x)


def test_what_comes_before_the_changed_layer_is_not_run_again() -> None:
    torch.manual_seed(0)
    depth = 6
    model = nn.Sequential(*[Counting(4, 4) for _ in range(depth)]).double()
    batches = [torch.randn(3, 4, dtype=torch.float64) for _ in range(5)]
    mq.measure(model, batches, formats=FORMATS, method="weight_mse")
    Counting.calls = 0
    mq.measure(model, batches, formats=FORMATS, method="measured_kl")
    suffixes = depth * (depth + 1) // 2
    discovery, check, records = 2 * depth, depth + depth * depth + suffixes, 5 * depth  # layers, then activations
    assert Counting.calls == discovery + check + records + 5 * 2 * suffixes


def test_layers_that_act_before_they_are_called_are_measured_by_whole_runs(caplog: pytest.LogCaptureFixture) -> None:
    model, inputs = early()
    with caplog.at_level(logging.INFO, "mckp_quant"):
        mq.measure(model, [inputs], formats=FORMATS, method="measured_kl")
    assert "layer 'second' acts on the network before it is called" in caplog.text
    assert "layer 'first' acts" not in caplog.text


def test_half_precision_weights_come_back_to_the_last_bit() -> None:
    model, inputs = conv_net()
    model = model.bfloat16()
    before = [parameter.clone() for parameter in model.parameters()]
    table = mq.measure(model, [inputs.bfloat16()], formats=FORMATS, method="measured_kl")
    assert (table.loss[:, 0] > 0).all()
    torch.testing.assert_close(list(model.parameters()), before, rtol=0, atol=0)
