"""Products without the mean change of each output channel, against networks whose outputs are really shifted."""

from __future__ import annotations

import contextlib
import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import mckp_quant as mq
from mckp_quant import InvalidInput
from mckp_quant.formats.format import as_formats
from mckp_quant.network.batches import as_batch
from mckp_quant.network.discovery import discover
from mckp_quant.network.likelihoods import Categorical
from mckp_quant.sensitivity import GaussNewton
from mckp_quant.sensitivity.cache import layer_weights
from mckp_quant.sensitivity.engine.taps import Taps
from mckp_quant.sensitivity.task import LayerWeight, Task

from ..tiny import conv_net, perceptron, transformer

if TYPE_CHECKING:
    from collections.abc import Callable

FORMATS = "w2,w4"
STEP = 1e-5


class Odd(nn.Module):
    """Convolutions whose padding PyTorch does in other ways, and one that is told how large its output is."""

    def __init__(self) -> None:
        super().__init__()
        self.same = nn.Conv1d(2, 4, 4, padding="same", dilation=2)
        self.round = nn.Conv1d(4, 4, 3, padding=2, padding_mode="circular", stride=2)
        self.up = nn.ConvTranspose1d(4, 2, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.round(torch.tanh(self.same(x))))
        out: Tensor = self.up(x, output_size=[2 * x.shape[2]]).flatten(1)
        return out


def odd() -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    return Odd().double().eval(), torch.randn(5, 2, 9, dtype=torch.float64)


def shifts(model: nn.Module, weight: LayerWeight, inputs: Tensor, direction: Tensor) -> dict[nn.Module, Tensor]:
    """The mean of what a direction in place of the weight gives, over all calls of each module that has a bias."""
    outputs: dict[nn.Module, list[Tensor]] = {}

    def record(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], result: Tensor) -> None:
        alone = copy.deepcopy(module)
        alone._forward_hooks.clear()
        alone._forward_hooks_with_kwargs.clear()
        alone.weight = nn.Parameter(direction.clone())
        if alone.bias is not None:
            alone.bias = nn.Parameter(torch.zeros_like(module.bias))  # type: ignore[arg-type]
        made = alone(*args, **kwargs).movedim(1 if isinstance(module, nn.modules.conv._ConvNd) else -1, -1)
        outputs.setdefault(module, []).append(made.flatten(0, -2))

    with contextlib.ExitStack() as hooks, torch.no_grad():
        for module in weight.modules:
            if not isinstance(module, nn.Embedding):
                hooks.callback(module.register_forward_hook(record, with_kwargs=True).remove)
        model(inputs)
    return {module: torch.cat(found).mean(dim=0) for module, found in outputs.items()}


def corrected_logits(model: nn.Module, weight: LayerWeight, inputs: Tensor, direction: Tensor, step: float) -> Tensor:
    """The logits with the weight moved, and every output of its modules shifted back by the mean of that."""
    taken = shifts(model, weight, inputs, direction)

    def shift(module: nn.Module, args: object, result: Tensor) -> Tensor:
        own = step * taken[module]
        return result - (own.view(-1, *[1] * (result.ndim - 2)) if isinstance(module, nn.modules.conv._ConvNd) else own)

    with contextlib.ExitStack() as hooks, torch.no_grad():
        for module in taken:
            hooks.callback(module.register_forward_hook(shift).remove)
        for parameter in weight.parameters:
            parameter.add_(step * direction)
        try:
            made: Tensor = model(inputs).clone()
        finally:
            for parameter in weight.parameters:
                parameter.sub_(step * direction)
    return made


@pytest.mark.parametrize("network", [perceptron, conv_net, transformer, odd])
def test_products_are_those_of_outputs_that_are_really_shifted(
    network: Callable[[], tuple[nn.Module, Tensor]],
) -> None:
    model, inputs = network()
    task = Task(model, layer_weights(model, discover(model, inputs), as_formats(FORMATS)), Categorical(), None, 0)
    taps = Taps(task, matched=True)
    with taps.attached():
        logits = taps.forward(as_batch(inputs))
        vectors = torch.randn(logits.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        products = [taps.backward(vectors, keep_graph=keep) for keep in (True, False)]
    compared = 0
    for row, weight in enumerate(task.weights):
        torch.testing.assert_close(products[0][row], products[1][row])
        if row in taps.per_batch:
            continue
        compared += 1
        for column, direction in enumerate(weight.perturbations):
            ends = [corrected_logits(model, weight, inputs, direction, step) for step in (STEP, -STEP)]
            change = (ends[0] - ends[1]) / (2 * STEP)
            expected = (vectors * change).reshape(len(inputs), -1).sum(dim=1)
            found = products[1][row][:, column]
            scale = float(expected.abs().max())
            np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6 * scale, err_msg=weight.layer.name)
    assert compared >= 2


def test_a_weight_that_only_moves_means_loses_nothing() -> None:
    """All samples are alike, so whatever rounding does is a shift of the mean."""
    model, inputs = perceptron()
    same = inputs[:1].expand(6, -1)
    plain = mq.measure(model, [same], formats=FORMATS)
    table = mq.measure(model, [same], formats=FORMATS, method=GaussNewton(matched=True))
    head = table.row("head")
    assert (plain.loss[head] > 0).all()
    assert (table.loss[head] < 1e-20 * plain.loss[head]).all()
    assert table.method == "gauss_newton, matched"


@pytest.mark.slow
def test_small_batches_promise_too_little_by_no_more_than_one_part_in_their_samples() -> None:
    model, inputs = conv_net()
    many = inputs[torch.randint(0, 10, (1024,), generator=torch.Generator().manual_seed(0))]
    tables = [
        mq.measure(model, list(many.split(size)), formats="w2", method=GaussNewton(probes=2, matched=True))
        for size in (4, 256)
    ]
    small, large = (table.loss for table in tables)
    error = 3 * np.hypot(tables[0].stderr, tables[1].stderr)
    assert (small < large + error).all()
    assert (small > (1 - 1 / 4) * large - error).all()


def test_what_has_no_mean_is_refused() -> None:
    model, inputs = perceptron()
    matched = GaussNewton(matched=True)
    with pytest.raises(InvalidInput, match=r"batch 0 has one sample, and GaussNewton\(matched=True\) takes means"):
        mq.measure(model, [inputs[:1]], formats=FORMATS, method=matched)
    with pytest.raises(InvalidInput, match=r"GaussNewton\(matched=True\) knows formats of weights only"):
        mq.measure(model, [inputs], formats="w4a8", method=matched)
