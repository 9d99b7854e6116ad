"""Weights that are stored as ``(in, out)`` are rounded as their transposes are."""

from __future__ import annotations

import pytest
import torch

from mckp_quant import Layer
from mckp_quant.formats.format import as_formats
from mckp_quant.rounding import decode_weight
from mckp_quant.rounding.weights import encode_weight, quantize

PAIRS = [("linear", "linear_transposed", (12, 40)), ("experts", "experts_transposed", (3, 12, 40))]


@pytest.mark.parametrize(("plain", "turned", "shape"), PAIRS)
def test_every_format_rounds_the_transpose_of_a_weight_to_the_transpose(
    plain: str, turned: str, shape: tuple[int, ...]
) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    channels = weight[..., 0].numel()
    layer = Layer("layer", plain, shape, channels, None)
    other = Layer("layer", turned, tuple(weight.transpose(-1, -2).shape), channels, None)
    for entry in as_formats("w1,w2z,w4t,w8,w4g16,w3g16z,fp8_e4m3,mxfp4,nvfp4"):
        expected = quantize(weight, entry, layer).transpose(-1, -2)
        torch.testing.assert_close(quantize(weight.transpose(-1, -2), entry, other), expected, rtol=0, atol=0)
        codes = encode_weight(weight.transpose(-1, -2).contiguous(), entry, other)
        plainly = decode_weight(encode_weight(weight, entry, layer), entry, layer).transpose(-1, -2)
        torch.testing.assert_close(decode_weight(codes, entry, other), plainly, rtol=0, atol=0)
