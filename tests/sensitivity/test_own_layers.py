"""Subclasses of layers that compute their output in a way of their own: what hooks assume of them may not hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import mckp_quant as mq
from mckp_quant.formats.format import as_formats
from mckp_quant.rounding.weights import perturbations

if TYPE_CHECKING:
    from collections.abc import Callable

FORMATS = "w2,w4"


class Same(nn.Conv2d):
    """Pads so that the output has the input's size divided by the stride, as TensorFlow's SAME does."""

    def forward(self, x: Tensor) -> Tensor:
        pads: list[int] = []
        for size, kernel, stride in zip(x.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1], strict=True):
            total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            pads += [total // 2, total - total // 2]
        return F.conv2d(F.pad(x, pads), self.weight, self.bias, self.stride)


class Reshaping(nn.Linear):
    """Takes images, and multiplies their channels."""

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x.movedim(1, -1), self.weight, self.bias).movedim(-1, 1)


class Scaled(nn.Linear):
    """Has a scale on its output and an adapter beside its weight."""

    def __init__(self, features: int) -> None:
        super().__init__(features, features)
        self.down, self.up = nn.Linear(features, 2), nn.Linear(2, features)

    def forward(self, x: Tensor) -> Tensor:
        adapted: Tensor = 3 * F.linear(x, self.weight) + self.up(self.down(x))
        return adapted


class Named(nn.Linear):
    """Calls its input by a name of its own."""

    def forward(self, features: Tensor) -> Tensor:
        return F.linear(features, self.weight, self.bias)


class Paired(nn.Linear):
    """Returns more than a tensor."""

    def forward(self, x: Tensor) -> tuple[Tensor, int]:  # type: ignore[override]
        return F.linear(x, self.weight, self.bias), 0


class Net(nn.Module):
    """A convolution of some kind, then a linear layer of some kind."""

    def __init__(self, conv: nn.Module, linear: nn.Module, call: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.conv, self.linear, self.head, self.call = conv, linear, nn.Linear(4, 3), call

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.call(self.linear, torch.tanh(self.conv(x)).mean((2, 3))))
        return out


def plain(module: nn.Module, x: Tensor) -> Tensor:
    out: Tensor = module(x)
    return out


def _functional(module: nn.Module, x: Tensor) -> Tensor:
    assert isinstance(module.weight, Tensor)
    return F.linear(x, module.weight)


CASES: dict[str, Callable[[], Net]] = {
    "SAME, stride 2": lambda: Net(Same(2, 4, 3, stride=2), nn.Linear(4, 4), plain),
    "SAME, stride 1": lambda: Net(Same(2, 4, 3), nn.Linear(4, 4), plain),
    "reshaping": lambda: Net(Reshaping(2, 4), nn.Linear(4, 4), plain),
    "scaled, with an adapter": lambda: Net(nn.Conv2d(2, 4, 3), Scaled(4), plain),
    "input under another name": lambda: Net(nn.Conv2d(2, 4, 3), Named(4, 4), lambda m, x: m(features=x)),
    "more than a tensor": lambda: Net(nn.Conv2d(2, 4, 3), Paired(4, 4), lambda m, x: m(x)[0]),
    "weight without its module": lambda: Net(nn.Conv2d(2, 4, 3), nn.Linear(4, 4), _functional),
}


def sizes(*given: int) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(2)
    return [
        (
            torch.randn(3, 2, size, size, generator=generator, dtype=torch.float64),
            torch.randint(0, 3, (3,), generator=generator),
        )
        for size in given
    ]


@pytest.mark.parametrize("given", [(7, 8), (8, 7), (5, 5)])
@pytest.mark.parametrize("case", CASES)
def test_first_order_changes_are_those_of_autograd_at_every_shape(case: str, given: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    model, batches = CASES[case]().double(), sizes(*given)
    table = mq.measure(model, batches, formats=FORMATS, method="first_order")
    for row, layer in enumerate(table.layers):
        weight = model.get_parameter(f"{layer.name}.weight")
        losses = [F.cross_entropy(model(x), targets, reduction="sum") for x, targets in batches]
        gradient = torch.autograd.grad(sum(losses), weight)[0] / 6  # type: ignore[arg-type]
        expected = perturbations(weight, as_formats(FORMATS), layer).flatten(1) @ gradient.flatten()
        np.testing.assert_allclose(table.loss[row], expected.detach(), rtol=1e-6, err_msg=layer.name)
    assert (mq.measure(model, [x for x, _ in batches], formats=FORMATS).loss > 0).all()


def test_a_layer_whose_hook_fails_has_a_larger_error_and_no_other_layer_has() -> None:
    torch.manual_seed(0)
    model = CASES["SAME, stride 2"]().double()
    table = mq.measure(model, [x for x, _ in sizes(8)], formats=FORMATS)
    known = table.stderr / table.loss
    assert np.allclose(known[table.row("conv")], np.sqrt(2))  # one unit: the whole batch
    assert not np.allclose(known[table.row("head")], np.sqrt(2))


def test_inputs_of_a_layer_that_no_hook_fits_are_refused_by_name() -> None:
    torch.manual_seed(0)
    model = CASES["SAME, stride 2"]().double()
    batches = [x for x, _ in sizes(8)]
    message = "layer 'conv' computes its output in a way of its own, .*use method='measured_kl'"
    with pytest.raises(mq.InvalidInput, match=message):
        mq.measure(model, batches, formats="w4a8")
    assert (mq.measure(model, batches, formats="w4a8", method="measured_kl").loss > 0).all()
