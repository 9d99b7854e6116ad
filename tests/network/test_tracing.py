from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mckp_quant import InvalidInput, Layer, SensitivityTable, allocate, measure
from mckp_quant.allocation.constraints.peak_memory import PEAKS, chain, peak, shared_inputs
from mckp_quant.formats.format import as_formats
from mckp_quant.layers import Activation
from mckp_quant.network.discovery import discover
from mckp_quant.network.tracing import trace_activations


class Residual(nn.Module):
    """Two convolutions beside a third: what they share and what is added is known by construction."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.one = nn.Conv2d(4, 4, 3, padding=1)
        self.two = nn.Conv2d(4, 4, 3, padding=1)
        self.beside = nn.Conv2d(4, 4, 1)
        self.head = nn.Linear(4, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        start = torch.relu(self.norm(self.stem(inputs)))
        inner = torch.relu_(self.one(start))
        out = torch.relu(self.two(inner) + self.beside(start))
        return self.head(out.mean((2, 3)))  # type: ignore[no-any-return]


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(9, 8)
        self.norm = nn.LayerNorm(8)
        self.q, self.k, self.v, self.o = (nn.Linear(8, 8) for _ in range(4))

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens)
        h = self.norm(x)
        attended = nn.functional.scaled_dot_product_attention(self.q(h), self.k(h), self.v(h))
        return x + self.o(attended)  # type: ignore[no-any-return]


def table_of(layers: tuple[Layer, ...], names: str) -> SensitivityTable:
    formats = as_formats(names)
    return SensitivityTable(layers, formats, np.ones((len(layers), len(formats))), np.ones((len(layers), len(formats))))


@pytest.mark.parametrize("inplace", [False, True])
def test_a_chain_of_layers_has_the_peak_of_its_inputs_and_outputs(inplace: bool) -> None:
    sizes = [7, 12, 5, 9]
    parts: list[nn.Module] = []
    for width, after in itertools.pairwise(sizes):
        parts += [nn.Linear(width, after), nn.ReLU(inplace=inplace)]
    model = nn.Sequential(*parts)
    batch = torch.ones(3, 7)
    layers = discover(model, batch)
    table = table_of(layers, "w4a8,w4a4")
    groups = tuple((row,) for row in range(len(layers)))
    found, wanted = trace_activations(model, batch, layers), chain(table, sizes)
    for names in (["w4a8"] * 3, ["w4a4"] * 3, ["w4a4", "w4a8", "w4a4"]):
        formats = as_formats(names[:1]) * 3 if len(set(names)) == 1 else tuple(as_formats([n])[0] for n in names)
        for name in PEAKS:
            assert peak(name, table, groups, found, formats, 11) == peak(name, table, groups, wanted, formats, 11)


def test_what_layers_share_and_how_long_it_lives_is_seen_through_views_norms_and_additions() -> None:
    model, batch = Residual(), torch.ones(2, 1, 6, 6)
    tensors = trace_activations(model, batch, discover(model, batch))
    by_readers = {each.readers: each for each in tensors}
    start, inner, added = by_readers["one", "beside"], by_readers[("two",)], by_readers[("head",)]
    assert by_readers[("stem",)].elements == 36
    assert (start.elements, inner.elements, added.elements) == (144, 144, 4)
    assert start.first < inner.first <= inner.last < start.last
    assert shared_inputs(tensors) == (("one", "beside"),)
    assert tensors[-1] == Activation(2, tensors[-1].last, tensors[-1].last)


def test_projections_that_read_one_tensor_are_found_whatever_they_are_called() -> None:
    model, tokens = Attention(), torch.zeros(2, 5, dtype=torch.long)
    tensors = trace_activations(model, tokens, discover(model, tokens))
    assert shared_inputs(tensors) == (("q", "k", "v"),)
    assert {each.elements for each in tensors if each.readers} == {40}


def test_tracing_leaves_the_model_alone_and_needs_no_memory_on_the_meta_device() -> None:
    model, batch = Residual().train(), torch.rand(2, 1, 6, 6)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    layers = discover(model, batch)
    found = trace_activations(model, batch, layers)
    assert model.training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert not any(module._forward_pre_hooks for module in model.modules())
    assert trace_activations(model.to("meta"), batch.to("meta"), layers) == found


def test_layers_that_are_left_out_read_in_floating_point() -> None:
    model, batch = Residual(), torch.ones(1, 1, 6, 6)
    only = tuple(layer for layer in discover(model, batch) if layer.name == "two")
    tensors = trace_activations(model, batch, only)
    assert {each.readers for each in tensors} == {(), ("two",)}
    with pytest.raises(InvalidInput, match="unknown layer 'other'"):
        trace_activations(model, batch, (Layer("other", "linear", (2, 2), 2, 4),))


def test_a_measured_table_limits_peaks_without_being_told_of_tensors() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    table = measure(model, [torch.randn(16, 8)], formats="w4,w8", method="gauss_newton")
    assert [each.readers for each in table.activations] == [("0",), ("2",), ()]
    policy = allocate(table, {"total_bytes": "90%"}).policy
    assert policy.costs["total_bytes"] == policy.costs["weight_bytes"] + 4 * (8 + 16)
