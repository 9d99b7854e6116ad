"""A checkpoint is taken up for what it belongs to, and refused for anything else, which is named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import mckp_quant as mq

if TYPE_CHECKING:
    from pathlib import Path


def net(activation: type[nn.Module] = nn.ReLU, shift: float = 0.0) -> nn.Module:
    torch.manual_seed(0)
    made = nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), activation(), nn.Linear(6, 3)).eval()
    with torch.no_grad():
        made.get_parameter("0.bias").add_(shift)
    return made


def data(seed: int, count: int = 4) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(6, 5, generator=generator) for _ in range(count)]


def normed() -> nn.Module:
    model = net()
    model.get_buffer("1.running_mean").add_(0.1)
    return model


def two(outputs: Tensor) -> Tensor:
    return outputs[:, :2]


def turned(outputs: Tensor) -> Tensor:
    return outputs.flip(1)


CASES: dict[str, tuple[nn.Module, list[Tensor], dict[str, Any], str]] = {
    "data": (net(), data(2), {}, "of other calibration data, batch 0 differs"),
    "one batch": (net(), [*data(1)[:2], *data(2)[2:]], {}, "is of other calibration data: batch 2 differs"),
    "biases": (net(shift=1), data(1), {}, "the network's '0.bias' differs"),
    "norm": (normed(), data(1), {}, "the network's '1.running_mean' differs"),
    "activation": (net(nn.Tanh), data(1), {}, "outputs of the first batch differ, though the weights do not"),
    "fewer outputs": (net(), data(1), {"outputs": mq.Outputs(take=two)}, r"had the shape \(6, 3\), and have \(6, 2\)"),
    "other outputs": (net(), data(1), {"outputs": mq.Outputs(take=turned)}, "outputs of the first batch differ"),
    "fewer batches": (net(), data(1)[:2], {}, "holds 3 batches, and only 2 are asked for"),
    "fewer asked": (net(), data(1), {"run": 2}, "holds 3 batches, and only 2 are asked for"),
    "formats": (net(), data(1), {"formats": "w2,w3"}, "formats was w2, w4, and is w2, w3"),
    "method": (net(), data(1), {"method": "measured_kl"}, "method was gauss_newton, and is measured_kl"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_differs_is_named(case: str, tmp_path: Path) -> None:
    model, batches, more, message = CASES[case]
    path = tmp_path / "state"
    mq.measure(net(), data(1)[:3], formats="w2,w4", run=mq.RunOptions(checkpoint=path))
    run = mq.RunOptions(checkpoint=path, max_batches=more.get("run"))
    with pytest.raises(mq.InvalidInput, match=message):
        mq.measure(model, batches, **{"formats": "w2,w4", **more, "run": run})


def test_the_same_measurement_goes_on_to_the_last_bit(tmp_path: Path) -> None:
    run = mq.RunOptions(checkpoint=tmp_path / "state")
    mq.measure(net(), data(1)[:2], formats="w2,w4", run=run)
    for _ in range(2):
        resumed = mq.measure(net(), data(1), formats="w2,w4", run=run)
        np.testing.assert_array_equal(resumed.loss, mq.measure(net(), data(1), formats="w2,w4").loss)
        assert resumed.classes == 3  # also where every batch had been read, and the estimator runs no more
