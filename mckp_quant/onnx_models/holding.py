"""Modules that hold the weights of an ONNX graph, and do not compute."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..errors import InvalidInput

if TYPE_CHECKING:
    from ..layers import Layer

SENT = "_sent_by_graph"
_KINDS: dict[str, type[nn.Module]] = {
    "conv1d": nn.Conv1d,
    "conv2d": nn.Conv2d,
    "conv3d": nn.Conv3d,
    "conv_transpose1d": nn.ConvTranspose1d,
    "conv_transpose2d": nn.ConvTranspose2d,
    "conv_transpose3d": nn.ConvTranspose3d,
}


def layer_module(layer: Layer, weight: Tensor) -> nn.Module:
    """A module of the layer's kind that holds its weight and gives back what it is called with."""
    shape = layer.shape
    channels = layer.known_channels
    with torch.device("meta"):  # nothing is drawn
        if layer.kind == "embedding":
            made: nn.Module = nn.Embedding(shape[0], shape[1])
        elif layer.kind == "linear":
            made = nn.Linear(shape[1], shape[0], bias=False)
        elif layer.kind.startswith("conv_transpose"):
            groups = channels // shape[1]
            made = _KINDS[layer.kind](shape[0], channels, shape[2:], groups=groups, bias=False)
        else:
            made = _KINDS[layer.kind](shape[1], shape[0], shape[2:], bias=False)
    made.weight = nn.Parameter(weight, requires_grad=False)
    made.__dict__["forward"] = _Forward(made, layer.name)
    return made


@dataclass(frozen=True, eq=False)
class _Forward:
    """What a layer does when it is called: nothing, with what it was to be called with."""

    module: nn.Module
    name: str

    def __call__(self, sent: Tensor) -> Tensor:
        expected: object = self.module.__dict__.get(SENT)
        if sent is not expected:
            raise InvalidInput(
                f"the input of layer {self.name!r} cannot be rounded: of a network that is only an ONNX file, formats "
                "of weights are measured and run, such as w4 or w8"
            )
        return sent


def put(network: nn.Module, name: str, module: nn.Module) -> None:
    """Register a module under a name with dots, whatever attributes modules have."""
    *parents, last = name.split(".")
    for each in parents:
        if network._modules.get(each) is None:
            network._modules[each] = nn.Module()
        network = network._modules[each]  # type: ignore[assignment]
    held = network._modules.get(last)
    if held is not None:  # the layer "a.b" came before "a"
        module._modules.update(held._modules)
    network._modules[last] = module
