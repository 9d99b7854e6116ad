"""A network in an odd state, all of which measuring has to give back."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from .tiny import CLASSES, ConvNet, conv_net


class Dropping(ConvNet):
    """Draws random numbers and counts its calls."""

    calls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls = self.calls + 1
        assert not self.training
        return super().forward(x + 0 * torch.rand_like(x))


def in_odd_state() -> tuple[nn.Module, Tensor]:
    """Partly in training mode, partly frozen, with a gradient to lose."""
    torch.manual_seed(3)
    model = Dropping().double()
    model.train()
    model.get_submodule("bn").eval()
    model.get_parameter("first.weight").requires_grad_(False)
    model.get_parameter("head.weight").grad = torch.full((CLASSES, 4), 7.0).double()
    return model, conv_net()[1]


def state_of(model: nn.Module) -> dict[str, object]:
    """All that measuring could change."""
    return {
        "modes": [module.training for module in model.modules()],
        "parameters": copy.deepcopy(list(model.parameters())),
        "identities": [id(parameter) for parameter in model.parameters()],
        "requires_grad": [parameter.requires_grad for parameter in model.parameters()],
        "gradients": copy.deepcopy([parameter.grad for parameter in model.parameters()]),
        "buffers": copy.deepcopy(dict(model.named_buffers())),
        "hooks": [
            (len(module._forward_hooks), len(module._forward_pre_hooks), len(module._backward_hooks))
            for module in model.modules()
        ],
        "forwards": [module.__dict__.get("forward") is None for module in model.modules()],
        "random": torch.get_rng_state(),
    }


def assert_same(before: dict[str, object], after: dict[str, object]) -> None:
    for key, value in before.items():
        torch.testing.assert_close(after[key], value, rtol=0, atol=0, msg=f"{key} changed")
