"""Every kind of transformers is measured, and what stays in floating point is known by name."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

import mckp_quant as mq
from mckp_quant.network.discovery import Outside, uses_of
from mckp_quant.network.weight_uses import MIXTURES

from .architectures import ARCHITECTURES, Architecture, words

if TYPE_CHECKING:
    from torch import Tensor, nn

transformers = pytest.importorskip("transformers")
QUICK = {"Llama", "OPT", "GPT2", "GptOss", "DeepseekV3", "Bart", "Whisper", "ViT"}  # each is a case of its own
MARKED = [
    pytest.param(each, id=each.name, marks=() if each.name in QUICK else pytest.mark.slow) for each in ARCHITECTURES
]


@pytest.mark.parametrize("architecture", MARKED)
def test_every_layer_is_measured_and_the_rest_is_named(
    architecture: Architecture, caplog: pytest.LogCaptureFixture
) -> None:
    model = architecture.network()
    with caplog.at_level(logging.WARNING):
        table = mq.measure(model, [architecture.batch() for _ in range(2)], formats="w3,w8")
    outside = Outside.of(model)
    assert len(table.layers) == architecture.layers
    assert len(outside.names) == len(architecture.outside)
    assert all(name.endswith(f".{own}") for name, own in zip(outside.names, architecture.outside, strict=True))
    assert table.outside == outside.count < 0.05 * outside.weights
    assert sum(layer.elements for layer in table.layers) + outside.count == outside.weights
    assert (str(outside) in caplog.text) == bool(outside.names)
    assert not np.isnan(table.loss).any()
    assert (table.loss[:, 0] > table.loss[:, 1]).mean() > 0.8  # three bits against eight


class Experts(torch.nn.Module):
    """Two experts that keep their weights either way round; every token goes to both."""

    def __init__(self, *, turned: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.num_experts, self.is_transposed = 2, turned
        up, down = torch.randn(2, 8, 5), torch.randn(2, 3, 8)
        self.up_proj = torch.nn.Parameter(up.transpose(1, 2).contiguous() if turned else up)
        self.down_proj = torch.nn.Parameter(down.transpose(1, 2).contiguous() if turned else down)

    def forward(self, x: Tensor) -> Tensor:
        up, down = ((each if self.is_transposed else each.transpose(1, 2)) for each in (self.up_proj, self.down_proj))
        made: Tensor = ((x @ up).tanh() @ down).sum(dim=0)
        return made


def test_experts_are_measured_alike_whichever_way_they_are_stored() -> None:
    batches = [torch.randn(4, 5, generator=torch.Generator().manual_seed(at)) for at in range(3)]
    plain, turned = (torch.nn.Sequential(Experts(turned=each)).eval() for each in (False, True))
    own, other = (mq.measure(each, batches, formats="w2,w4,w4g16") for each in (plain, turned))
    np.testing.assert_allclose(other.loss, own.loss, rtol=1e-4)
    assert {layer.kind for layer in other.layers} == {"experts_transposed"}
    assert {layer.kind for layer in own.layers} <= MIXTURES
    policy = mq.Policy.uniform(other, "w2")
    rounded = [mq.apply(each, policy)(batches[0]) for each in (plain, turned)]
    torch.testing.assert_close(*rounded)


def test_conv1d_is_measured_as_the_linear_layer_that_it_is() -> None:
    model = next(each for each in ARCHITECTURES if each.name == "GPT2").network()
    batches = [{"input_ids": words(5)} for _ in range(3)]
    own = mq.measure(model, batches, formats="w2,w4g16,w4a8")
    linear = mq.measure(_with_linear(model), batches, formats="w2,w4g16,w4a8")
    np.testing.assert_allclose(own.loss, linear.loss, rtol=1e-4)
    np.testing.assert_allclose(own.stderr, linear.stderr, rtol=1e-4)
    assert [layer.macs for layer in own.layers] == [layer.macs for layer in linear.layers]
    assert [layer.channels for layer in own.layers] == [layer.channels for layer in linear.layers]


def test_the_documents_list_what_is_tested() -> None:
    text = (Path(__file__).parents[2] / "docs" / "networks.md").read_text(encoding="utf-8")
    for what in dict.fromkeys(each.what for each in ARCHITECTURES):
        names = ", ".join(each.name for each in ARCHITECTURES if each.what == what)
        kept = dict.fromkeys(part for each in ARCHITECTURES if each.what == what for part in each.outside)
        left = ", ".join(f"`{part}`" for part in kept)
        assert re.search(rf"^\| {re.escape(what)} \| {names} \| {re.escape(left) or '-'} \|$", text, re.MULTILINE), what


def _with_linear(model: nn.Module) -> nn.Module:
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if type(child).__name__ == "Conv1D":
                weight, bias = child.get_parameter("weight").data, child.get_parameter("bias").data
                linear = torch.nn.Linear(*weight.shape)
                linear.weight.data, linear.bias.data = weight.T.contiguous(), bias
                setattr(module, name, linear)
    uses_of(model, ())
    return model
