"""Activations as formats store them, their ranges, and networks that compute with them."""

from __future__ import annotations

import copy
import dataclasses
import math
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import mckp_quant as mq
from mckp_quant import ActivationRanges, Format, InvalidInput, Policy, calibrate_ranges
from mckp_quant.formats.ranges import grid_of
from mckp_quant.rounding.calibration import STEPS
from mckp_quant.rounding.inputs import InputRounding

if TYPE_CHECKING:
    from pathlib import Path

    from mckp_quant.formats.schemes import ActivationScheme

INTEGERS = [f"a{bits}{end}" for bits in (2, 3, 4, 8) for end in ("", "s")]


def scheme_of(name: str) -> ActivationScheme:
    scheme = Format.named(name).activation_scheme
    assert scheme is not None
    return scheme


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def representable(scheme: ActivationScheme, low: float, high: float) -> Tensor:
    """Everything that an integer scheme can store on a range, spelled out from its definition."""
    low, high = min(low, 0.0), max(high, 0.0)
    if scheme.symmetric:
        top = 2 ** (scheme.bits - 1) - 1
        return torch.arange(-top, top + 1, dtype=torch.float64) * float(np.float32(max(-low, high) / top))
    step = float(np.float32((high - low) / (2**scheme.bits - 1)))
    return (torch.arange(2**scheme.bits, dtype=torch.float64) - round(-low / step)) * step


@given(st.sampled_from(INTEGERS), st.floats(-5, 5), st.floats(0.01, 9), st.integers(0, 2**31))
def test_numbers_become_the_nearest_that_the_range_holds(name: str, low: float, width: float, seed: int) -> None:
    scheme, numbers = scheme_of(name), 4 * noise(200, seed=seed)
    grid = representable(scheme, low, low + width)
    expected = (numbers[:, None] - grid).abs().amin(dim=1)
    rounded = InputRounding(scheme, low, low + width).round(numbers)
    torch.testing.assert_close((rounded - numbers).abs(), expected, rtol=1e-9, atol=1e-12)
    assert bool((rounded[:, None] - grid).abs().amin(dim=1).max() < 1e-9)
    assert not InputRounding(scheme, low, low + width).round(torch.zeros(3)).any()


@given(st.sampled_from(INTEGERS), st.floats(-1e30, 1e30), st.floats(0, 1e30))
def test_grids_fit_their_bits_and_hold_zero(name: str, low: float, width: float) -> None:
    scheme = scheme_of(name)
    grid = grid_of(low, low + width, scheme)
    assert grid.scale > 0
    assert grid.scale == float(np.float32(grid.scale))
    assert grid.most - grid.least == 2**scheme.bits - 1 - scheme.symmetric
    assert grid.least <= grid.zero_point <= grid.most
    assert not scheme.symmetric or grid.zero_point == 0


@pytest.mark.parametrize(("name", "dtype"), [("af16", torch.float16), ("abf16", torch.bfloat16)])
def test_half_precision_is_that_of_pytorch_and_saturates(name: str, dtype: torch.dtype) -> None:
    numbers = noise(500).float() * 100
    rounding = InputRounding(scheme_of(name))
    assert rounding.round(numbers).equal(numbers.to(dtype).float())
    assert bool(rounding.round(torch.tensor([3e38, -3e38])).isfinite().all())


@pytest.mark.parametrize(
    ("kind", "dtype", "top"), [("e4m3", torch.float8_e4m3fn, 448), ("e5m2", torch.float8_e5m2, 57344)]
)
def test_fp8_inputs_are_scaled_so_that_the_range_just_fits(kind: str, dtype: torch.dtype, top: int) -> None:
    numbers = noise(500).float()
    scheme = scheme_of(f"fp8_{kind}a8")
    rounded = InputRounding(scheme, -2.0, 1.5).round(numbers)
    expected = (numbers / (2 / top)).clamp(-top, top).to(dtype).float() * (2 / top)
    torch.testing.assert_close(rounded, expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", ["a4d", "a8d", "a4sd", "fp8_e4m3a8d"])
@pytest.mark.parametrize("of_tokens", [True, False])
def test_dynamic_ranges_are_those_of_every_token_or_sample_alone(name: str, of_tokens: bool) -> None:
    numbers = noise(3, 4, 5) * torch.logspace(-2, 2, 12, dtype=torch.float64).reshape(3, 4, 1)
    scheme = scheme_of(name)
    rounded = InputRounding(scheme).round(numbers, of_tokens=of_tokens)
    fixed = dataclasses.replace(scheme, dynamic=False)
    parts = zip(*((t.reshape(-1, 5) if of_tokens else t.reshape(3, 20)) for t in (numbers, rounded)), strict=True)
    for before, after in parts:
        alone = InputRounding(fixed, float(before.min()), float(before.max())).round(before)
        torch.testing.assert_close(after, alone, rtol=1e-6, atol=1e-9)


def test_whole_numbers_and_empty_inputs_stay_as_they_are() -> None:
    indices = torch.arange(5)
    assert InputRounding(scheme_of("a2"), 0, 1).round(indices) is indices
    assert InputRounding(scheme_of("a2d")).round(torch.zeros(0, 3)).shape == (0, 3)


def small_network() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3)).eval()


BATCHES = [noise(8, 2, 4, 4, seed=seed).float() for seed in range(5)]


def inputs_of(model: nn.Sequential) -> dict[str, Tensor]:
    stacked = torch.cat(BATCHES)
    with torch.no_grad():
        return {"0": stacked, "3": model[2](model[1](model[0](stacked)))}


def test_extremes_are_those_of_all_batches() -> None:
    model = small_network()
    ranges = calibrate_ranges(model, BATCHES, "a8,w4a8", rule="minmax")
    assert ranges.samples == 40
    for name, seen in inputs_of(model).items():
        low, high = ranges.ranges[name, "a8"]
        assert low == min(float(seen.min()), 0)
        assert high == float(seen.max())
    assert set(ranges.ranges) == {("0", "a8"), ("3", "a8")}


@pytest.mark.parametrize("name", ["a3", "a4s", "a8"])
def test_the_range_of_least_error_is_the_best_of_all_tried(name: str) -> None:
    model = small_network()
    scheme = scheme_of(name)
    best = calibrate_ranges(model, BATCHES, name, rule="mse")
    widest = calibrate_ranges(model, BATCHES, name, rule="minmax")
    for layer, seen in inputs_of(model).items():

        def error(part: float, layer: str = layer, seen: Tensor = seen) -> float:
            low, high = widest.of(layer, scheme)
            return float((InputRounding(scheme, low * part, high * part).round(seen) - seen).square().mean())

        found = float((InputRounding(scheme, *best.of(layer, scheme)).round(seen) - seen).square().mean())
        assert found <= (1 + 1e-5) * min(error(step / STEPS) for step in range(1, STEPS + 1))


def test_percentiles_leave_out_only_what_is_rare() -> None:
    model = nn.Sequential(nn.Linear(4, 2))
    many = torch.rand(1000, 1000, 4, generator=torch.Generator().manual_seed(0))
    many[0, 0, 0] = 1000.0
    low, high = calibrate_ranges(model, [many], "a8", rule="percentile").of("0", scheme_of("a8"))
    assert low == 0
    assert 0.99 < high <= 1


@pytest.mark.parametrize("rule", ["minmax", "percentile", "mse"])
def test_ranges_are_the_same_on_every_run_and_the_model_is_given_back(rule: str) -> None:
    model = small_network().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    first, second = (calibrate_ranges(model, BATCHES, "a4,a8s", rule=rule) for _ in range(2))
    assert first == second
    assert model.training
    assert torch.get_rng_state().equal(state)
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_rules_and_inputs_that_make_no_sense_are_refused() -> None:
    with pytest.raises(InvalidInput, match="unknown rule for activation ranges 'max': did you mean 'minmax'"):
        calibrate_ranges(small_network(), BATCHES, "a8", rule="max")
    with pytest.raises(InvalidInput, match="the input of layer '0' holds nan or infinite numbers"):
        calibrate_ranges(small_network(), [BATCHES[0] * torch.inf], "a8")
    with pytest.raises(
        InvalidInput, match=r"the range of the input of layer 'fc' for a8 is 1.0 to 0.0: give two finite"
    ):
        ActivationRanges("given", 0, {("fc", "a8"): (1.0, 0.0)})


def test_ranges_survive_their_file_and_damaged_files_are_refused(tmp_path: Path) -> None:
    ranges = calibrate_ranges(small_network(), BATCHES, "a4,a8s,fp8_e4m3a8")
    file = tmp_path / "ranges.json"
    ranges.save(file)
    assert ActivationRanges.load(file) == ranges
    for entry, words in [
        ({"layer": "0", "scheme": "a4", "low": 3, "high": 1}, "for a4 is 3.0 to 1.0"),
        ({"layer": "0", "scheme": "a4", "low": 3}, "the file cannot be read .KeyError: 'high'"),
    ]:
        with pytest.raises(InvalidInput, match=words):
            ActivationRanges.from_document({**ranges.document(), "ranges": [entry]}, "the file")
    with pytest.raises(InvalidInput, match="the file lacks the field 'rule'"):
        ActivationRanges.from_document({}, "the file")
    for samples in (math.inf, 7.5, "8"):
        with pytest.raises(InvalidInput, match=r"the file has samples = .*: it must be a whole number"):
            ActivationRanges.from_document({**ranges.document(), "samples": samples}, "the file")


def test_policies_and_tables_keep_their_ranges_in_their_files(tmp_path: Path) -> None:
    table = mq.measure(small_network(), BATCHES, formats="w4a4,w8a8,w8")
    table.save(tmp_path / "table.json")
    loaded = mq.SensitivityTable.load(tmp_path / "table.json")
    assert loaded.ranges == table.ranges
    policy = Policy.on_table(loaded, [loaded.formats[0], loaded.formats[1]])
    assert policy.ranges is not None
    assert set(policy.ranges.ranges) == {("0", "a4"), ("3", "a8")}
    policy.save(tmp_path / "policy.json")
    assert Policy.load(tmp_path / "policy.json").ranges == policy.ranges
    assert "activation_ranges" not in Policy.uniform(loaded, "w8").document()


def test_applied_networks_compute_with_rounded_inputs_and_weights() -> None:
    model = small_network()
    ranges = calibrate_ranges(model, BATCHES, "w4a4,a3d")
    made = mq.apply(model, Policy(("0", "3"), (Format.named("w4a4"), Format.named("a3d"))), ranges)
    weights = mq.apply(model, Policy(("0",), (Format.named("w4"),)))
    given = BATCHES[0]
    first = InputRounding(scheme_of("a4"), *ranges.of("0", scheme_of("a4")))
    last = InputRounding(scheme_of("a3d"))
    with torch.no_grad():
        hidden = weights[2](weights[1](weights[0](first.round(given))))  # type: ignore[index]
        expected = model[3](last.round(hidden))
        assert made(given).equal(expected)
        assert not made(given).equal(model(given))
    assert pickle.loads(pickle.dumps(made))(given).equal(expected)
    assert copy.deepcopy(made)(given).equal(expected)
    assert set(made.state_dict()) == set(model.state_dict())


def test_a_module_of_two_names_is_rounded_once() -> None:
    model = nn.ModuleDict({"a": nn.Linear(3, 3)})
    model["b"] = model["a"]
    ranges = ActivationRanges("given", 0, {(name, "a2"): (-1.0, 1.0) for name in "ab"})
    made = mq.apply(model, Policy(("a",), (Format.named("a2"),)), ranges)
    assert len(made["a"]._forward_pre_hooks) == 1  # type: ignore[index]


@pytest.mark.parametrize(
    ("ranges", "words"),
    [
        (None, r"stores the input of layer '0' in 'w4a8', but has no range for it: give apply\(..., ranges="),
        (ActivationRanges("given", 0), "unknown layer of the activation ranges '0'"),
        (
            ActivationRanges("given", 0, {("0", "a4"): (0.0, 1.0)}),
            "the activation ranges of layer '0' are not for a8: calibrate them for the formats of the policy",
        ),
    ],
)
def test_policies_whose_ranges_are_not_known_are_refused(ranges: Any, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        mq.apply(small_network(), Policy(("0",), (Format.named("w4a8"),)), ranges)


class Experts(nn.Module):
    """Weights of two experts in one parameter, as Hugging Face models hold them."""

    num_experts, is_transposed = 2, False

    def __init__(self) -> None:
        super().__init__()
        self.down_proj = nn.Parameter(torch.ones(2, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.down_proj[0]


def test_experts_take_formats_of_weights_only() -> None:
    model = nn.Sequential(Experts(), nn.Linear(3, 2))
    with pytest.raises(
        InvalidInput, match=r"layer '0.down_proj' holds experts, .* give it a format of weights, .*'w4'"
    ):
        mq.apply(model, Policy(("0.down_proj",), (Format.named("w4a8d"),)))
    with pytest.raises(
        InvalidInput, match=r"layer '0.down_proj' holds experts, .* or name the other layers with layers="
    ):
        mq.measure(model, [torch.randn(4, 3)], formats="w4a8")
