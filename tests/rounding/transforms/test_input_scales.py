"""Scales between a norm and the layers behind it: the float function stays, and the layers round better."""

from __future__ import annotations

import copy
from typing import TypeVar

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mckp_quant import InvalidInput
from mckp_quant.formats.format import as_formats
from mckp_quant.network.discovery import discover, uses_of
from mckp_quant.rounding import Gptq, quantize
from mckp_quant.rounding.transforms import scale_inputs

Net = TypeVar("Net", bound=nn.Module)


class Rms(nn.Module):
    """A norm of one's own, with a weight that its output is proportional to; `plus_one` spoils that."""

    def __init__(self, channels: int, plus_one: bool = False) -> None:
        super().__init__()
        self.weight, self.plus_one = nn.Parameter(torch.ones(channels)), plus_one

    def forward(self, x: Tensor) -> Tensor:
        normed = x * x.square().mean(-1, keepdim=True).add(1e-6).rsqrt()
        made: Tensor = normed * (1 + self.weight if self.plus_one else self.weight)
        return made


class Block(nn.Module):
    """Attention and a gated perceptron, as large language models have them."""

    def __init__(self, d: int = 8) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(d), Rms(d)
        self.q, self.k, self.v, self.o = (nn.Linear(d, d) for _ in range(4))
        self.up, self.gate, self.down = nn.Linear(d, 2 * d), nn.Linear(d, 2 * d), nn.Linear(2 * d, d)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        x = x + self.o(F.scaled_dot_product_attention(self.q(y), self.k(y), self.v(y)))
        y = self.norm2(x)
        made: Tensor = x + self.down(F.silu(self.gate(y)) * self.up(y))
        return made


class Others(nn.Module):
    """Norms that may not be scaled: each for a reason of its own."""

    def __init__(self, d: int = 8) -> None:
        super().__init__()
        self.norms = nn.ModuleList([*(nn.LayerNorm(d) for _ in range(5)), Rms(d, plus_one=True)])
        self.linears = nn.ModuleList(nn.Linear(d, d) for _ in range(7))
        self.linears[3].weight = self.linears[4].weight
        self.plain = nn.LayerNorm(d, elementwise_affine=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norms[0](x)
        x = self.linears[0](y) + y  # read by the sum too
        x = self.linears[1](self.norms[1](x).relu())  # not read by the layer itself
        x = self.linears[2](self.norms[2](x)) + self.linears[2](x)  # the layer has another input too
        x = self.linears[3](self.norms[3](x)) + self.linears[4](x)  # tied
        x = self.linears[5](self.norms[5](self.plain(x)))  # not proportional to its weight; without one
        made: Tensor = self.norms[4](self.linears[6](x))  # given back
        return made


def outliers(model: Net) -> Net:
    """The model with norms that make some channels much larger than others, in eval mode."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.LayerNorm | Rms) and getattr(module, "weight", None) is not None:
                module.weight.copy_(torch.rand(module.weight.shape, generator=generator).pow(4) * 8 + 0.05)
    return model.eval()


def weight(model: nn.Module, name: str) -> Tensor:
    """The weight of the module of this name."""
    return model.get_parameter(f"{name}.weight").detach()


def norm1(model: nn.Module, x: Tensor) -> Tensor:
    """What the first norm of a `Block` gives."""
    made: Tensor = model.get_submodule("norm1")(x)
    return made.detach()


def data(count: int = 2) -> list[Tensor]:
    torch.manual_seed(3)
    return [torch.randn(4, 6, 8) for _ in range(count)]


def output_error(model: nn.Module, name: str, inputs: Tensor, entry: str) -> float:
    (layer,) = (each for each in discover(model, data()[0]) if each.name == name)
    own = uses_of(model, [layer])[name].weight.detach()
    off = quantize(own, as_formats(entry)[0], layer) - own
    return float((inputs @ off.T).square().sum())


def test_the_scaled_network_computes_the_same_and_its_layers_round_better() -> None:
    torch.manual_seed(0)
    model, batches = outliers(Block()).double(), [each.double() for each in data()]
    scaled = scale_inputs(model, batches, "w3,w4")
    torch.testing.assert_close(scaled(batches[0]), model(batches[0]), rtol=1e-12, atol=1e-12)
    x = batches[0].flatten(0, 1)
    for entry in ("w3", "w4"):
        errors = [
            sum(output_error(each.float(), name, norm1(each, x.float()), entry) for name in "qkv")
            for each in (copy.deepcopy(model), copy.deepcopy(scaled))
        ]
        assert errors[1] < 0.9 * errors[0]


def test_layers_behind_one_norm_get_the_same_scales_and_others_none() -> None:
    torch.manual_seed(0)
    model = outliers(Block())
    scaled = scale_inputs(model, data(), "w3")
    ratio = {name: weight(scaled, name) / weight(model, name) for name in "qkvo"}
    for name in "qkv":
        torch.testing.assert_close(
            ratio[name], (weight(model, "norm1") / weight(scaled, "norm1")).expand_as(ratio[name])
        )
    assert float(ratio["q"].max()) > 1.1
    assert torch.equal(weight(model, "o"), weight(scaled, "o"))
    assert torch.equal(weight(model, "down"), weight(scaled, "down"))
    assert not torch.equal(weight(model, "gate"), weight(scaled, "gate"))
    gate, up = (weight(scaled, name) / weight(model, name) for name in ("gate", "up"))
    torch.testing.assert_close(gate[0], up[0])


def test_the_scales_are_a_power_of_the_mean_magnitude_and_the_error_chooses_it() -> None:
    torch.manual_seed(0)
    model = outliers(Block())
    sizes = torch.cat([norm1(model, each) for each in data()]).abs().mean((0, 1))
    half = scale_inputs(model, data(), "w3", exponents=[0.5])
    wanted = sizes.sqrt() / (sizes.sqrt().max() * sizes.sqrt().min()).sqrt()
    torch.testing.assert_close(weight(model, "norm1") / weight(half, "norm1"), wanted)
    assert torch.equal(weight(scale_inputs(model, data(), "w3", exponents=[0.0]), "q"), weight(model, "q"))


def test_any_rounder_may_judge() -> None:
    torch.manual_seed(0)
    model = outliers(Block())
    scaled = scale_inputs(model, data(), "w3", rounder=Gptq())
    torch.testing.assert_close(scaled(data()[0]), model(data()[0]), rtol=1e-4, atol=1e-4)


def test_norms_whose_output_others_read_and_weights_with_other_inputs_are_left_alone() -> None:
    torch.manual_seed(0)
    model = outliers(Others())
    scaled = scale_inputs(model, data(), "w3")
    before, after = model.state_dict(), scaled.state_dict()
    assert [name for name in before if not torch.equal(before[name], after[name])] == []


def test_a_channel_that_is_always_zero_is_left_alone() -> None:
    torch.manual_seed(0)
    model = outliers(Block())
    with torch.no_grad():
        model.norm2.weight[3] = 0
    scaled = scale_inputs(model, data(), "w3")
    assert torch.equal(weight(scaled, "up")[:, 3], weight(model, "up")[:, 3])
    assert bool(torch.isfinite(scaled(data()[0])).all())


@pytest.mark.parametrize("training", [False, True])
def test_the_network_is_given_back_as_it_was(training: bool) -> None:
    model = outliers(Block()).train(training)
    before = copy.deepcopy(model.state_dict())
    scaled = scale_inputs(model, data(), "w3")
    assert all(module.training == training for module in [*model.modules(), *scaled.modules()])
    assert all(torch.equal(before[name], each) for name, each in model.state_dict().items())
    assert not any(module._forward_hooks for module in [*model.modules(), *scaled.modules()])


def test_without_norms_the_copy_is_equal() -> None:
    model, x = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)), torch.randn(2, 3)
    assert torch.equal(scale_inputs(model, [x], "w4")(x), model(x))


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(InvalidInput, match="none of the formats stores weights"):
        scale_inputs(Block(), data(), "a8")
    with pytest.raises(InvalidInput, match="an exponent is 2: it must be a number from 0 to 1"):
        scale_inputs(Block(), data(), "w4", exponents=[2])
