"""Weights that another tool has rounded: codes are found again to the last, and what is none is refused."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

import mckp_quant as mq
from mckp_quant import Format, InvalidInput, WeightBank
from mckp_quant.rounding import EncodedWeight, encode_weight
from mckp_quant.rounding.encoded import OpaqueWeight

from ..networks import draw, layer_of

NAMES = ("w1", "w2", "w3", "w4z", "w8", "w2t", "w3g16", "w4g16z", "w5tz", "fp8_e4m3", "mxfp4", "nvfp4")


@pytest.mark.parametrize("name", NAMES)
def test_a_weight_made_of_codes_gets_codes_that_make_it_again(name: str) -> None:
    model, batch, layer = layer_of("conv2d")
    entry = Format.named(name)
    rounded = mq.round_weights(model, [batch], [entry]).weight(layer.name, entry)
    bank = WeightBank.of_weights(model, {"0": {entry: rounded}}, rounder="tool 1.0")
    found = bank.encoded("0", entry)
    assert isinstance(found, EncodedWeight)
    assert torch.equal(bank.weight("0", entry), rounded)
    assert (bank.rounder, bank.data, bank.samples) == ("tool 1.0", "", 0)
    bank.check(model)
    again = WeightBank.of_weights(model, {"0": {name: found}}, rounder="tool 1.0")
    assert torch.equal(again.weight("0", entry), rounded)


def test_codes_are_found_where_no_code_is_the_largest_and_in_half_precision() -> None:
    model, _, layer = layer_of("linear")
    entry = Format.named("w4")
    codes = torch.randint(-3, 4, (5, 9), generator=torch.Generator().manual_seed(0)).float()
    scales = draw(1, 5, 1).abs() + 0.1
    for dtype in (torch.float32, torch.bfloat16):
        weight = codes.to(dtype) * scales.to(dtype)
        bank = WeightBank.of_weights(model, {layer.name: {entry: weight}}, rounder="tool")
        assert isinstance(bank.encoded(layer.name, entry), EncodedWeight)
        assert torch.equal(bank.weight(layer.name, entry, dtype), weight)


def test_a_weight_off_the_grid_is_kept_as_it_is() -> None:
    model, _, layer = layer_of("linear")
    weight = draw(1, 5, 9)
    bank = WeightBank.of_weights(model, {layer.name: {"w2": weight}}, rounder="tool")
    assert isinstance(bank.encoded(layer.name, bank.formats[0]), OpaqueWeight)
    assert torch.equal(bank.weight(layer.name, bank.formats[0]), weight)


def test_what_does_not_fit_is_refused_in_words() -> None:
    model, _, layer = layer_of("linear")
    weight = draw(1, 5, 9)

    def refused(words: str, weights: Any, rounder: str = "tool") -> None:
        with pytest.raises(InvalidInput, match=words):
            WeightBank.of_weights(model, weights, rounder=rounder)

    def codes(name: str, **changed: Any) -> Any:
        return {"0": {name: dataclasses.replace(encode_weight(weight, Format.named(name), layer), **changed)}}

    refused("unknown layer 'x'", {"x": {"w2": weight}})
    refused(r"has the shape \(9, 5\), not \(5, 9\)", {"0": {"w2": weight.T}})
    refused("has 45 entries that are nan or infinite", {"0": {"w2": weight * float("nan")}})
    refused("in 'w2' is a list: give an EncodedWeight or a tensor", {"0": {"w2": [1]}})
    refused("in 'w2' hold 3: the format has whole numbers from -1 to 1", codes("w2", elements=torch.full((5, 9), 3.0)))
    refused("in 'w1' hold 0: the format has -1 and 1", codes("w1", elements=torch.zeros(5, 9)))
    refused("in 'mxfp4' hold 5: the format has numbers of e2m1", codes("mxfp4", elements=torch.full((5, 9), 5.0)))
    refused(
        "have zero points that are no codes: give whole numbers from 0 to 15",
        codes("w4z", zero_points=torch.full((5, 1), 16.0)),
    )
    refused("or their scales are nan or infinite", codes("w4", scales=torch.full((5, 1), float("inf"))))
    refused("have the shape .*: they are another layer's", codes("w4", elements=torch.zeros(5, 8)))
    refused("there is nothing to keep, or rounder is empty", {"0": {"w2": weight}}, "")
    other, _, _ = layer_of("linear")
    two = torch.nn.Sequential(other.get_submodule("0"), torch.nn.Linear(5, 5))
    with pytest.raises(InvalidInput, match="layer '1' has weights in w3, and the first one in w2: give all layers"):
        WeightBank.of_weights(two, {"0": {"w2": weight}, "1": {"w3": draw(2, 5, 5)}}, rounder="tool")
