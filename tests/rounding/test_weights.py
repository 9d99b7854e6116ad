from __future__ import annotations

import functools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from mckp_quant import Format, InvalidInput, Layer
from mckp_quant.rounding.weights import perturbations, quantize

BITS = range(1, 9)


def layer_of(weight: Tensor) -> Layer:
    return Layer("fc", "linear", tuple(weight.shape), weight.shape[0], 0)


def rounded(weight: Tensor, bits: int) -> Tensor:
    return quantize(weight, Format.named(f"w{bits}"), layer_of(weight))


def errors(weight: Tensor, bits: int) -> Tensor:
    return (rounded(weight, bits) - weight).double().square().flatten(1).sum(dim=1)


def clipped(weight: Tensor, bits: int, fraction: float) -> Tensor:
    """Squared error of each channel when the largest magnitude is clipped to a fraction of itself."""
    rows = weight.double().flatten(1)
    top = 2 ** (bits - 1) - 1
    scale = rows.abs().amax(dim=1, keepdim=True) * fraction / top
    error: Tensor = (rows / scale).round().clamp(-top, top) * scale - rows
    return error.square().sum(dim=1)


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


weights = st.builds(
    lambda channels, inputs, seed, power, double: (
        noise(channels, inputs, 3, seed=seed, dtype=torch.float64 if double else torch.float32) ** power
    ),
    st.integers(1, 5),
    st.integers(1, 12),
    st.integers(0, 2**31),
    st.sampled_from([1, 3]),
    st.booleans(),
)
bit_widths = st.integers(1, 8)


@given(weights, bit_widths)
def test_quantising_again_changes_nothing(weight: Tensor, bits: int) -> None:
    once = rounded(weight, bits)
    torch.testing.assert_close(rounded(once, bits), once, rtol=8 * torch.finfo(weight.dtype).eps, atol=0)


@given(weights, bit_widths)
def test_each_channel_takes_at_most_as_many_values_as_the_bits_allow(weight: Tensor, bits: int) -> None:
    allowed = 2 if bits == 1 else 2**bits - 1
    for row in rounded(weight, bits):
        levels = row.unique()
        assert len(levels) <= allowed
        torch.testing.assert_close(levels.abs().unique(), (-levels).abs().unique(), rtol=0, atol=0)


@given(weights, bit_widths, st.integers(-30, 30))
def test_powers_of_two_pass_through(weight: Tensor, bits: int, power: int) -> None:
    assert rounded(weight * 2.0**power, bits).equal(rounded(weight, bits) * 2.0**power)


@given(weights, bit_widths)
def test_the_sign_of_the_weight_passes_through(weight: Tensor, bits: int) -> None:
    assert rounded(-weight, bits).equal(-rounded(weight, bits))


@given(weights, st.integers(2, 8))
def test_clipping_is_never_worse_than_none(weight: Tensor, bits: int) -> None:
    rounding = 1e-9 * weight.double().square().flatten(1).sum(dim=1)
    assert (errors(weight, bits) <= clipped(weight, bits, 1.0) * (1 + 1e-4) + rounding).all()


@pytest.mark.slow
@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("power", [1, 3])
def test_a_far_finer_search_gains_little(bits: int, power: int) -> None:
    weight = noise(24, 400) ** power
    finest = torch.stack([clipped(weight, bits, k / 2000) for k in range(1, 2001)]).amin(dim=0)
    assert float(errors(weight, bits).sum() / finest.sum()) < 1.05


@pytest.mark.parametrize("power", [1, 3])
def test_more_bits_never_err_more(power: int) -> None:
    totals = torch.stack([errors(noise(16, 300) ** power, bits).sum() for bits in BITS])
    assert (totals.diff() < 0).all()


def test_one_bit_is_the_sign_times_the_mean_magnitude() -> None:
    weight = torch.tensor([[1.0, -3.0, 0.0, 4.0], [-1.0, -1.0, 1.0, 1.0]])
    expected = torch.tensor([[2.0, -2.0, 2.0, 2.0], [-1.0, -1.0, 1.0, 1.0]])
    assert rounded(weight, 1).equal(expected)


@pytest.mark.parametrize("bits", BITS)
def test_channels_of_zeros_stay_zero_and_do_not_disturb_others(bits: int) -> None:
    weight = noise(3, 20)
    weight[1] = 0
    quantized = rounded(weight, bits)
    assert not quantized[1].any()
    assert quantized[[0, 2]].equal(rounded(weight[[0, 2]], bits))


@pytest.mark.parametrize("bits", BITS)
def test_channels_are_quantised_one_by_one_however_many_there_are(bits: int) -> None:
    weight = noise(5, 2**16, seed=1)
    alone = torch.cat([rounded(row[None], bits) for row in weight])
    torch.testing.assert_close(rounded(weight, bits), alone)


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("bits", [1, 2, 4])
def test_transposed_convolutions_have_one_scale_per_output_channel(groups: int, bits: int) -> None:
    inputs, outputs = 8, 3 * groups
    weight = noise(inputs, outputs // groups, 3, 2)
    layer = Layer("up", "conv_transpose2d", tuple(weight.shape), outputs, 0)
    quantized = quantize(weight, Format.named(f"w{bits}"), layer)
    for group in range(groups):
        own = slice(group * inputs // groups, (group + 1) * inputs // groups)
        for channel in range(outputs // groups):
            expected = rounded(weight[own, channel].reshape(1, -1), bits)
            torch.testing.assert_close(quantized[own, channel].reshape(1, -1), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    weight = noise(4, 30, dtype=dtype)
    quantized = rounded(weight, 3)
    assert quantized.dtype == dtype
    assert quantized.equal(rounded(weight.float(), 3).to(dtype))
    (difference,) = perturbations(weight, [Format.named("w3")], layer_of(weight))
    assert difference.dtype == torch.float32
    assert difference.equal(quantized.float() - weight.float())


def test_the_weight_is_untouched_and_the_result_has_no_gradient() -> None:
    weight = torch.nn.Parameter(noise(4, 6))
    before = weight.detach().clone()
    quantized = rounded(weight, 2)
    assert not quantized.requires_grad
    assert weight.equal(before)


def bits_of(layer: Layer) -> int:
    return 5 * layer.elements


def overwritten(weight: Tensor) -> Tensor:
    return weight.round_()


def own(quantizer: object) -> Format:
    return Format("mine", 5, quantize=quantizer, stored_bits=bits_of)  # type: ignore[arg-type]


def test_a_users_quantizer_gets_a_copy_of_the_weight() -> None:
    weight = noise(4, 6)
    before = weight.clone()
    assert quantize(weight, own(overwritten), layer_of(weight)).equal(before.round())
    assert weight.equal(before)


def test_perturbations_are_stacked_in_the_order_of_the_formats() -> None:
    weight = noise(4, 6)
    formats = [Format.named("w4"), own(overwritten), Format.named("w1")]
    stacked = perturbations(weight, formats, layer_of(weight))
    assert stacked.shape == (3, 4, 6)
    for difference, entry in zip(stacked, formats, strict=True):
        assert difference.equal(quantize(weight, entry, layer_of(weight)) - weight)


@pytest.mark.parametrize(
    ("quantizer", "message"),
    [
        (functools.partial(torch.sum, dim=1), r"quantizer of format 'mine', .*'fc', returned the shape \(4,\)"),
        (lambda weight: weight.tolist(), "returned list: it must return a tensor"),
        (lambda weight: weight / 0, "returned 24 entries that are nan or infinite"),
    ],
)
def test_a_users_quantizer_is_checked(quantizer: object, message: str) -> None:
    weight = noise(4, 6)
    with pytest.raises(InvalidInput, match=message):
        quantize(weight, own(quantizer), layer_of(weight))


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (torch.ones(2, 3), r"the weight of layer 'fc' has the shape \(2, 3\), not \(4, 6\)"),
        (torch.ones(4, 6, dtype=torch.int64), "the weight of layer 'fc' is torch.int64: it must be floating point"),
        (torch.full((4, 6), torch.nan), "the weight of layer 'fc' has 24 entries that are nan or infinite"),
    ],
)
def test_weights_that_cannot_be_quantised_are_refused(weight: Tensor, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        quantize(weight, Format.named("w4"), layer_of(noise(4, 6)))
    with pytest.raises(InvalidInput, match=message):
        perturbations(weight, [Format.named("w4")], layer_of(noise(4, 6)))


def test_a_format_without_a_quantizer_is_refused() -> None:
    with pytest.raises(InvalidInput, match="format 'mine' has no quantizer"):
        quantize(noise(4, 6), own(None), layer_of(noise(4, 6)))
