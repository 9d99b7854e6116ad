"""Sums over the rows of inputs, against rows that the layer itself gives: a layer is linear in its weight."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mckp_quant import InvalidInput
from mckp_quant.formats import ActivationScheme
from mckp_quant.network.weight_uses import uses_in
from mckp_quant.rounding.inputs import InputRounding
from mckp_quant.rounding.rows import from_channel_rows
from mckp_quant.rounding.statistics import FLOAT_INPUT, gather_statistics

from .networks import NAMES, layer_of

PLAIN = [name for name in NAMES if name not in {"embedding", "tied", "experts"}]


def rows_by_basis(module: nn.Module, weight: nn.Parameter, layer: Any, inputs: Tensor, groups: int) -> Tensor:
    """``(groups, rows, n)``: with row k of the identity as every channel's weights, outputs are entry k of each row."""
    size = layer.elements // layer.channels
    columns = []
    with torch.no_grad():
        kept = weight.clone()
        bias = getattr(module, "bias", None)
        offset = 0.0 if bias is None else bias
        for at in range(size):
            unit = torch.zeros(layer.channels, size)
            unit[:, at] = 1
            weight.copy_(from_channel_rows(unit, layer))
            output = module(inputs)
            output = output if isinstance(module, nn.Linear) else output.movedim(1, -1)
            flat = (output - offset).reshape(-1, groups, layer.channels // groups)
            columns.append(flat[:, :, 0].T)
        weight.copy_(kept)
    return torch.stack(columns, dim=2)


@pytest.mark.parametrize("name", PLAIN)
def test_sums_are_those_of_the_rows_that_the_layer_multiplies(name: str) -> None:
    model, batch, layer = layer_of(name)
    module = model.get_submodule("0")
    groups = getattr(module, "groups", 1)
    dense = rows_by_basis(module, uses_in(model)["0"].weight, layer, batch, groups).double()
    found = gather_statistics(model, [batch[:2], batch[2:]], [layer])["0", FLOAT_INPUT]
    torch.testing.assert_close(found.gram, dense.transpose(1, 2) @ dense, rtol=1e-5, atol=1e-4)
    assert found.rows.tolist() == [dense.shape[1]] * groups


def test_rounded_inputs_have_sums_of_their_own() -> None:
    model, batch, layer = layer_of("conv2d")
    rounding = InputRounding(ActivationScheme(3), -2.0, 2.0)
    found = gather_statistics(model, [batch], [layer], {"a3": {"0": rounding}})
    again = gather_statistics(model, [rounding.round(batch)], [layer])
    torch.testing.assert_close(found["0", "a3"].gram, again["0", FLOAT_INPUT].gram)
    assert not torch.allclose(found["0", FLOAT_INPUT].gram, found["0", "a3"].gram)


def test_experts_see_their_own_tokens_and_those_without_any_have_no_rows() -> None:
    model, batch, layer = layer_of("experts")
    found = gather_statistics(model, [batch[:20], batch[20:]], [layer])[layer.name, FLOAT_INPUT]
    first, second = batch[batch[:, 0] <= 0].double(), batch[batch[:, 0] > 0].double()
    torch.testing.assert_close(found.gram[0], first.T @ first, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.gram[1], second.T @ second, rtol=1e-5, atol=1e-5)
    assert found.rows.tolist() == [len(first), len(second), 0]
    assert not found.gram[2].any()


def test_an_embedding_that_only_looks_up_has_no_statistics() -> None:
    model, batch, layer = layer_of("embedding")
    assert gather_statistics(model, [batch], [layer]) == {}


def test_positions_of_padding_do_not_count() -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.head = nn.Embedding(7, 6), nn.Linear(6, 3)

        def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
            made: Tensor = self.head(self.table(input_ids))
            return made

    torch.manual_seed(0)
    model = Masked()
    tokens = torch.arange(12).reshape(2, 6) % 7
    mask = torch.tensor([[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]])
    from mckp_quant.network import discover
    from mckp_quant.network.batches import as_batches

    batch = {"input_ids": tokens, "attention_mask": mask}
    layers = [each for each in discover(model, next(as_batches([batch], model))) if each.name == "head"]
    found = gather_statistics(model, [batch], layers)["head", FLOAT_INPUT]
    kept = model.table(tokens)[mask == 1].double()
    torch.testing.assert_close(found.gram[0], kept.T @ kept, rtol=1e-5, atol=1e-5)
    assert found.rows.tolist() == [10]


@pytest.mark.parametrize("name", ["linear", "conv2d", "depthwise"])
def test_inputs_that_are_not_finite_name_the_layer(name: str) -> None:
    model, batch, layer = layer_of(name)
    batch[-1].flatten()[0] = float("nan")
    with pytest.raises(InvalidInput, match="the input of layer '0' holds nan or infinite numbers: check the network's"):
        gather_statistics(model, [batch], [layer])
