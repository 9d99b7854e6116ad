"""Scales of a bank for a target are numbers of the type in which its runtime holds them."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from mckp_quant import round_weights
from mckp_quant.formats import as_formats
from mckp_quant.formats.capabilities import held_scales
from mckp_quant.rounding import EncodedWeight
from mckp_quant.rounding.arithmetic import stored_scale

BATCHES = [torch.randn(16, 64, generator=torch.Generator().manual_seed(2))]


def network(dtype: torch.dtype) -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 8)).to(dtype)


@given(
    exponent=st.integers(-30, 20),
    mantissa=st.floats(1, 2, exclude_max=True),
    name=st.sampled_from(["w4", "w4g32"]),
    held=st.sampled_from(["float16", "bfloat16"]),
)
def test_scales_are_numbers_of_both_types(exponent: int, mantissa: float, name: str, held: str) -> None:
    scheme = dataclasses.replace(as_formats([name])[0], held=held).weight_scheme
    assert scheme is not None
    for dtype in (torch.float32, torch.float64):
        scale = torch.tensor([mantissa * 2.0**exponent], dtype=dtype)
        made = stored_scale(scale, scheme)
        assert made > 0
        for kind in (held, scheme.scale):
            assert (made.to(getattr(torch, kind)).to(dtype) == made).all()
        if -14 <= exponent <= 14:
            assert (made - scale).abs() <= 2.0**-8 * scale


@pytest.mark.parametrize("rounder", ["nearest", "gptq", pytest.param("learned", marks=pytest.mark.slow)])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_banks_for_vllm_hold_scales_in_the_networks_type(rounder: str, dtype: torch.dtype) -> None:
    model, formats = network(dtype), "w4,w4z,w4g32,w8a8sd"
    batches = [batch.to(dtype) for batch in BATCHES]
    plain, held = (
        round_weights(model, batches, formats, rounder=rounder, target=target, layers=["0"])
        for target in (None, "vllm")
    )
    (layer,) = held.layers
    for entry in held.formats:
        ours, own = held.encoded("0", entry), plain.encoded("0", entry)
        assert isinstance(ours, EncodedWeight)
        assert isinstance(own, EncodedWeight)
        kind = held_scales("vllm", entry, str(dtype).removeprefix("torch."))
        assert kind == ("" if dtype == torch.float32 or entry.name == "w8a8sd" else str(dtype).removeprefix("torch."))
        if kind:
            assert (ours.scales.to(dtype).double() == ours.scales.double()).all()
        else:
            assert torch.equal(ours.scales, own.scales)
            assert torch.equal(ours.elements, own.elements)
        off = (ours.scales.double() / own.scales.double() - 1).abs()
        assert off.max() < 0.5  # another clipping threshold at most
    assert layer.name == "0"
