"""Every built-in weight format against a search through all that it can store."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from mckp_quant import Format, InvalidInput, Layer
from mckp_quant.rounding.arithmetic import CLIP_STEPS, SMALL_FLOATS, times_power_of_two
from mckp_quant.rounding.weights import encode_weight, quantize

E2M1 = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0]
TORCH_TYPES = {"e4m3": torch.float8_e4m3fn, "e5m2": torch.float8_e5m2}
NAMES = ["w2", "w4", "w3t", "w4g16", "w1g32", "w4z", "w3g16z", "w8tz", "fp8_e4m3", "fp8_e5m2t", "mxfp4", "nvfp4"]


def layer_of(weight: Tensor) -> Layer:
    return Layer("fc", "linear", tuple(weight.shape), weight.shape[0], 0)


def rounded(weight: Tensor, name: str) -> Tensor:
    return quantize(weight, Format.named(name), layer_of(weight))


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (drawn * drawn.abs()).to(dtype)


def nearest(numbers: Tensor, grid: Tensor) -> Tensor:
    """The nearest entry of a grid to every number, by looking at all of them."""
    return grid[(numbers[..., None] - grid).abs().argmin(dim=-1)]


def pieces(weight: Tensor, name: str) -> list[Tensor]:
    """What shares a scale: the whole weight, rows, or groups that end where the row ends."""
    entry = Format.named(name)
    if entry.granularity == "tensor":
        return [weight.flatten()]
    rows = list(weight.flatten(1))
    return rows if entry.group_size is None else [part for row in rows for part in torch.split(row, entry.group_size)]


def least_error(numbers: Tensor, name: str) -> float:
    """The least squared error of a piece in an integer format over all clipping thresholds and all codes."""
    entry = Format.named(name)
    best = math.inf
    for step in range(1, CLIP_STEPS + 1):
        part = step / CLIP_STEPS
        if entry.symmetric:
            top = 2 ** (entry.weight_bits - 1) - 1
            codes = torch.arange(-top, top + 1, dtype=torch.float64)
            scale = float(numbers.abs().max()) * part / top
        else:
            low, high = min(float(numbers.min()), 0) * part, max(float(numbers.max()), 0) * part
            scale = (high - low) / (2**entry.weight_bits - 1)
            codes = torch.arange(2**entry.weight_bits, dtype=torch.float64)
        if entry.granularity == "group":
            scale = float(torch.tensor(scale).half())
        if not entry.symmetric:
            codes = codes - round(-low / scale)
        best = min(best, float((nearest(numbers, codes * scale) - numbers).square().sum()))
    return best


@pytest.mark.parametrize("name", ["w2", "w4", "w5t", "w4g16", "w3g32", "w2z", "w4z", "w4tz", "w3g16z", "w5g16z"])
def test_integers_reach_the_least_error_that_any_threshold_and_code_can(name: str) -> None:
    weight = noise(3, 40, seed=5) + 0.3
    quantized = rounded(weight, name)
    for before, after in zip(pieces(weight, name), pieces(quantized, name), strict=True):
        error = float((after - before).square().sum())
        assert error == pytest.approx(least_error(before, name), rel=1e-9)


@pytest.mark.parametrize("size", [16, 64])
def test_one_bit_groups_store_the_sign_and_the_mean_magnitude_in_float16(size: int) -> None:
    weight = noise(2, 70, seed=3)
    expected = [torch.where(p < 0, -1, 1) * p.abs().mean().half().double() for p in pieces(weight, f"w1g{size}")]
    torch.testing.assert_close(rounded(weight, f"w1g{size}").flatten(), torch.cat(expected), rtol=1e-12, atol=0)


@given(st.sampled_from(["e4m3", "e5m2"]), st.integers(0, 2**31), st.integers(-20, 20))
def test_small_floats_round_as_pytorch_rounds_to_them(kind: str, seed: int, power: int) -> None:
    numbers = (noise(300, seed=seed) * 2.0**power).float()
    limit = SMALL_FLOATS[kind].largest
    expected = numbers.clamp(-limit, limit).to(TORCH_TYPES[kind]).float()
    assert SMALL_FLOATS[kind].round(numbers).equal(expected)
    assert SMALL_FLOATS[kind].round(expected).equal(expected)


@pytest.mark.parametrize("kind", ["e4m3", "e5m2"])
def test_small_floats_have_the_numbers_that_their_bits_spell(kind: str) -> None:
    mantissa, bias = (3, 7) if kind == "e4m3" else (2, 15)
    spelled = []
    for code in range(128):
        exponent, fraction = code >> mantissa, (code & (2**mantissa - 1)) / 2**mantissa
        spelled.append(2.0 ** (1 - bias) * fraction if exponent == 0 else 2.0 ** (exponent - bias) * (1 + fraction))
    # The highest codes are nan (E4M3: one, E5M2: all of the highest exponent, infinity among them).
    numbers = torch.tensor(spelled[:-1] if kind == "e4m3" else spelled[:-4], dtype=torch.float64)
    assert float(numbers.max()) == SMALL_FLOATS[kind].largest
    assert SMALL_FLOATS[kind].round(numbers).equal(numbers)
    between = (numbers[1:] + numbers[:-1]) / 2
    assert SMALL_FLOATS[kind].round(between * (1 + 1e-9)).equal(numbers[1:])
    assert SMALL_FLOATS[kind].round(between * (1 - 1e-9)).equal(numbers[:-1])


def test_four_bit_floats_round_to_the_nearest_of_fifteen_with_ties_to_even() -> None:
    grid = torch.tensor([-x for x in E2M1[:0:-1]] + E2M1, dtype=torch.float64)
    numbers = torch.linspace(-7, 7, 1401, dtype=torch.float64) + 1e-6
    assert SMALL_FLOATS["e2m1"].round(numbers).equal(nearest(numbers, grid))
    ties = torch.tensor([0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0])
    assert SMALL_FLOATS["e2m1"].round(ties).tolist() == [0.0, 1.0, 1.0, 2.0, 2.0, 4.0, 4.0]


@pytest.mark.parametrize("name", ["fp8_e4m3", "fp8_e5m2", "fp8_e4m3t", "fp8_e5m2t"])
def test_fp8_brings_the_largest_magnitude_to_the_largest_number(name: str) -> None:
    weight = noise(3, 50, dtype=torch.float32)
    kind = name[4:8]
    for before, after in zip(pieces(weight, name), pieces(rounded(weight, name), name), strict=True):
        scale = before.abs().max() / SMALL_FLOATS[kind].largest
        expected = (before / scale).to(TORCH_TYPES[kind]).float() * scale
        torch.testing.assert_close(after, expected, rtol=1e-6, atol=0)


def test_mxfp4_blocks_have_the_power_of_two_of_the_specification() -> None:
    weight = noise(3, 70, seed=7)
    grid = torch.tensor([-x for x in E2M1[:0:-1]] + E2M1, dtype=torch.float64)
    for before, after in zip(pieces(weight, "mxfp4"), pieces(rounded(weight, "mxfp4"), "mxfp4"), strict=True):
        scale = 2.0 ** (math.floor(math.log2(float(before.abs().max()))) - 2)
        assert after.equal(nearest(before, grid * scale))


def test_nvfp4_blocks_have_e4m3_scales_below_one_scale_of_the_tensor() -> None:
    weight = noise(4, 40, seed=9)
    grid = torch.tensor([-x for x in E2M1[:0:-1]] + E2M1, dtype=torch.float64)
    above = (weight.abs().max() / (448 * 6)).float().double()
    for before, after in zip(pieces(weight, "nvfp4"), pieces(rounded(weight, "nvfp4"), "nvfp4"), strict=True):
        scale = (before.abs().max() / 6 / above).float().to(torch.float8_e4m3fn).double().clamp(min=2.0**-9)
        torch.testing.assert_close(after, nearest(before, grid * scale * above), rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(3, 16), (2, 37), (1, 5), (4, 64)])
def test_codes_scales_and_zero_points_multiply_out_to_the_quantised_weight(name: str, shape: tuple[int, int]) -> None:
    weight = noise(*shape, seed=11, dtype=torch.float32)
    entry = Format.named(name)
    stored = encode_weight(weight, entry, layer_of(weight))
    count = 1 if entry.granularity == "tensor" else entry.weight_scheme.scales(layer_of(weight)) // shape[0]  # type: ignore[union-attr]
    assert tuple(stored.scales.shape) == ((1, 1) if entry.granularity == "tensor" else (shape[0], count))
    at = torch.arange(shape[1]) // (entry.group_size or shape[1])
    zero = 0 if stored.zero_points is None else stored.zero_points[:, at]
    assert ((stored.elements - zero) * (stored.scales[:, at] * stored.tensor_scale)).equal(rounded(weight, name))
    if entry.granularity == "group" and entry.family == "integer":
        assert stored.scales.equal(stored.scales.half().float())
    if entry.family == "integer":
        codes = stored.elements if entry.weight_bits > 1 else (stored.elements + 1) / 2
        low = 0 if not entry.symmetric or entry.weight_bits == 1 else -(2 ** (entry.weight_bits - 1)) + 1
        assert codes.equal(codes.round())
        assert low <= float(codes.min()) <= float(codes.max()) <= low + 2**entry.weight_bits - 1
    if stored.zero_points is not None:
        assert stored.zero_points.equal(stored.zero_points.round())
        assert 0 <= float(stored.zero_points.min()) <= float(stored.zero_points.max()) < 2**entry.weight_bits


@pytest.mark.parametrize("name", [name for name in NAMES if name != "w1g32"])
def test_zeros_stay_zero_in_every_format(name: str) -> None:
    weight = noise(4, 48, seed=13)
    weight[weight.abs() < 0.3] = 0
    weight[2] = 0
    quantized = rounded(weight, name)
    assert not quantized[weight == 0].any()
    assert quantized.isfinite().all()


@given(st.sampled_from(["w1", "w4", "w8", "w3t", "w4z", "w8z", "fp8_e4m3", "fp8_e5m2"]), st.integers(0, 2**20))
def test_weights_at_the_ends_of_float32_are_rounded_like_any_other(name: str, seed: int) -> None:
    weight = noise(2, 24, seed=seed, dtype=torch.float32).clamp(-8, 8)
    power = torch.tensor(124)
    huge = times_power_of_two(weight, power)
    torch.testing.assert_close(rounded(huge, name), times_power_of_two(rounded(weight, name), power))
    tiny = rounded(times_power_of_two(weight, torch.tensor(-120)), name)
    torch.testing.assert_close(times_power_of_two(tiny, torch.tensor(120)), rounded(weight, name), rtol=1e-4, atol=0.01)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in {"w1g32", "w4g16", "w3g16z"}])
def test_the_largest_weights_of_all_stay_finite_and_near(name: str) -> None:
    largest = torch.finfo(torch.float32).max
    weight = torch.tensor([[largest, -largest, largest / 2, 0.0]])
    quantized = rounded(weight, name)
    assert quantized.isfinite().all()
    torch.testing.assert_close(quantized[0, :2], weight[0, :2], rtol=0.4, atol=0)


def test_wider_scales_and_zero_points_help_where_they_should() -> None:
    weight = noise(8, 128, seed=17) * torch.logspace(-2, 1, 8, dtype=torch.float64)[:, None] + 0.2
    errors = {name: float((rounded(weight, name) - weight).square().sum()) for name in ("w4t", "w4", "w4g16")}
    assert errors["w4g16"] < errors["w4"] < errors["w4t"]
    one_sided = weight.abs()
    plain, shifted = ((rounded(one_sided, name) - one_sided).square().sum() for name in ("w4", "w4z"))
    assert shifted < plain


def test_formats_that_leave_weights_float_change_nothing_and_have_no_codes() -> None:
    weight = noise(3, 4)
    for name in ("float", "a8"):
        copied = rounded(weight, name)
        assert copied.equal(weight)
        assert copied is not weight
        with pytest.raises(InvalidInput, match=f"format '{name}' has no codes: it leaves weights float"):
            encode_weight(weight, Format.named(name), layer_of(weight))


def test_mxfp4_equals_what_gguf_stores() -> None:
    gguf = pytest.importorskip("gguf", reason="gguf is not installed: pip install gguf")
    weight = noise(8, 128, seed=19, dtype=torch.float32)
    kind = gguf.GGMLQuantizationType.MXFP4
    stored = gguf.quants.quantize(weight.numpy(), kind)
    assert stored.nbytes * 8 == Format.named("mxfp4").storage_bits(layer_of(weight))
    assert torch.from_numpy(gguf.quants.dequantize(stored, kind)).equal(rounded(weight, "mxfp4"))
