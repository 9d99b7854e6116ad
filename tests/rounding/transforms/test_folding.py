"""Folding batch norms: the float function stays, and only norms that alone read a layer's output go."""

from __future__ import annotations

import copy
from typing import TypeVar

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mckp_quant import InvalidInput
from mckp_quant.rounding.transforms import fold_batch_norms

Net = TypeVar("Net", bound=nn.Module)


class Residual(nn.Module):
    """Convolutions of all kinds with norms behind them, and a shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.norm2 = nn.BatchNorm2d(8, affine=False)
        self.up = nn.ConvTranspose2d(8, 12, 2, stride=2, groups=2)
        self.norm3 = nn.BatchNorm2d(12)
        self.head = nn.Linear(12, 6)
        self.norm4 = nn.BatchNorm1d(6)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm1(self.first(x)))
        x = F.relu(x + self.norm2(self.depthwise(x)))
        x = F.relu(self.norm3(self.up(x)))
        made: Tensor = self.norm4(self.head(x.mean((2, 3))))
        return made


class Others(nn.Module):
    """Norms that may not be folded: each for a reason of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.read_twice, self.norm1 = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)
        self.viewed, self.norm2 = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
        self.called_twice, self.norm3, self.norm4 = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.BatchNorm2d(4)
        self.tied, self.other, self.norm5 = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
        self.other.weight = self.tied.weight
        self.of_batch, self.norm6 = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4, track_running_stats=False)
        self.read_aside, self.norm7 = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
        self.positions, self.norm8 = nn.Linear(4, 4), nn.BatchNorm1d(4)
        self.norm9 = nn.BatchNorm1d(4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.read_twice(x)
        x = self.norm1(y) + y
        y = self.viewed(x)
        x = self.norm2(y) + y.flatten(2).mean(2)[:, :, None, None]
        x = self.norm3(self.called_twice(x)) + self.norm4(self.called_twice(x.sin()))
        x = self.norm5(self.tied(x)) + self.other(x)
        x = self.norm6(self.of_batch(x))
        x = self.norm7(self.read_aside(x)) * self.read_aside.weight.abs().sum()
        y = self.positions(x.flatten(2)[:, :, :4])
        return self.norm8(y), self.norm9(y.mean(1))


class Differs(nn.Module):
    """Reads the output of its layer twice on batches of more than one sample."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.norm = nn.Linear(3, 4), nn.BatchNorm1d(4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(x)
        made: Tensor = self.norm(y) + y if len(x) == 3 else self.norm(y)
        return made


def lively(model: Net, seed: int = 0) -> Net:
    """The model with norms that do something, in eval mode."""
    torch.manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            for each in (module.weight, module.bias, module.running_mean):
                if each is not None:
                    nn.init.normal_(each)
            if module.running_var is not None:
                nn.init.uniform_(module.running_var, 0.3, 3)
    return model.eval()


def identities(model: nn.Module) -> list[str]:
    return [name for name, module in model.named_modules() if isinstance(module, nn.Identity)]


def test_the_folded_network_computes_the_same_without_norms() -> None:
    model, x = lively(Residual()).double(), torch.randn(5, 3, 6, 6, dtype=torch.float64)
    folded = fold_batch_norms(model, [x])
    assert identities(folded) == ["norm1", "norm2", "norm3", "norm4"]
    assert folded.get_submodule("first").bias is not None
    torch.testing.assert_close(folded(x), model(x), rtol=1e-12, atol=1e-12)


def test_norms_whose_input_others_read_and_weights_that_others_use_are_left_alone() -> None:
    model, x = lively(Others()), torch.randn(2, 3, 4, 4)
    folded = fold_batch_norms(model, [x])
    assert identities(folded) == []
    assert all(torch.equal(a, b) for a, b in zip(folded(x), model(x), strict=True))


def test_a_norm_with_a_hook_is_left_alone() -> None:
    model = lively(Residual())
    model.norm1.register_forward_hook(lambda module, args, output: output * 2)
    model.up.register_forward_pre_hook(lambda module, args: None)
    assert identities(fold_batch_norms(model, [torch.randn(2, 3, 4, 4)])) == ["norm2", "norm4"]


def test_a_module_that_is_registered_twice_is_replaced_in_both_places() -> None:
    model = lively(Residual())
    model.again = model.norm1
    folded = fold_batch_norms(model, [torch.randn(2, 3, 4, 4)])
    assert isinstance(folded.norm1, nn.Identity)
    assert folded.again is folded.norm1


@pytest.mark.parametrize("training", [False, True])
def test_the_network_is_given_back_as_it_was(training: bool) -> None:
    model = lively(Residual()).train(training)
    before = copy.deepcopy(model.state_dict())
    folded = fold_batch_norms(model, [torch.randn(2, 3, 4, 4)])
    assert all(module.training == training for module in [*model.modules(), *folded.modules()])
    assert all(torch.equal(before[name], each) for name, each in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in folded.modules())


def test_without_norms_the_copy_is_equal() -> None:
    model, x = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), torch.randn(2, 3)
    folded = fold_batch_norms(model, [x])
    assert folded is not model
    assert torch.equal(folded(x), model(x))


def test_a_network_that_does_otherwise_on_another_batch_is_refused() -> None:
    with pytest.raises(InvalidInput, match="folding batch norms changed the outputs of batch 1 by"):
        fold_batch_norms(lively(Differs()), [torch.randn(2, 3), torch.randn(3, 3)])
