"""Learned rounding: never more output error than the codes it begins with, and less where there is some to gain."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn

from mckp_quant import InvalidInput, Layer
from mckp_quant.formats.format import as_formats
from mckp_quant.rounding import Gptq, Learned, Nearest, decode_weight, encode_weight, quantize, round_weights
from mckp_quant.rounding.encoded import EncodedWeight
from mckp_quant.rounding.rounder import InputStatistics

if TYPE_CHECKING:
    from mckp_quant.rounding.encoded import StoredWeight
    from mckp_quant.rounding.rounder import Rounder

POOR = Nearest()  # a start that leaves something to learn
INTEGERS = ("w2", "w3", "w4z", "w3g16", "w4g16z", "w3t", "w8")


def statistics(rows: Tensor) -> InputStatistics:
    rows = rows.double()
    return InputStatistics(rows.transpose(-1, -2) @ rows, torch.full((len(rows),), float(rows.shape[1])).double())


def case(outputs: int = 12, n: int = 40, groups: int = 1, seed: int = 0) -> tuple[Tensor, Layer, InputStatistics]:
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(outputs, n, generator=generator)
    mixed = torch.randn(groups, 300, n, generator=generator) @ torch.randn(n, n, generator=generator)
    kind, shape = ("linear", (outputs, n)) if groups == 1 else ("conv1d", (outputs, n, 1))
    return weight.reshape(shape), Layer("layer", kind, shape, outputs, 1), statistics(mixed)


def coded(stored: StoredWeight) -> EncodedWeight:
    """Codes, and not values without any."""
    assert isinstance(stored, EncodedWeight)
    return stored


def codes(
    rounder: Rounder, weight: Tensor, layer: Layer, entries: str, inputs: InputStatistics | None
) -> list[EncodedWeight]:
    return [coded(each) for each in rounder.encode(weight, layer, as_formats(entries), inputs)]


def errors(weight: Tensor, layer: Layer, inputs: InputStatistics, encoded: EncodedWeight, entry: str) -> Tensor:
    """The squared output error of every row."""
    off = decode_weight(encoded, as_formats(entry)[0], layer, torch.float64) - weight.double()
    by_group = off.reshape(len(inputs.gram), -1, inputs.gram.shape[-1])
    return ((by_group @ inputs.gram) * by_group).sum(2).flatten()


@pytest.mark.parametrize("groups", [1, 3])
def test_no_row_has_more_output_error_than_at_the_start_and_most_have_less(groups: int) -> None:
    weight, layer, inputs = case(groups=groups)
    entries = ",".join(INTEGERS)
    before = codes(POOR, weight, layer, entries, inputs)
    after = codes(Learned(start=POOR, steps=100), weight, layer, entries, inputs)
    for entry, old, new in zip(INTEGERS, before, after, strict=True):
        first, second = (errors(weight, layer, inputs, each, entry) for each in (old, new))
        assert bool((second <= first * (1 + 1e-5)).all()), entry
        assert float(second.sum()) < 0.8 * float(first.sum()), entry


def test_from_round_to_nearest_most_of_what_the_best_rounding_gains_is_learned() -> None:
    weight, layer, inputs = case(outputs=6, n=8)
    # Scales of a tensor stay: every choice of codes can be tried.
    (before,), (after,) = (codes(each, weight, layer, "w3t", inputs) for each in (POOR, Learned(start=POOR, steps=300)))
    scale, choices = float(before.scales), torch.arange(2.0**8).long()
    up = (choices[:, None] >> torch.arange(8)) & 1
    best = []
    for row, code in zip(weight.double(), before.elements.double(), strict=True):
        side = torch.where(row / scale >= code, 1, -1)
        tried = (code + side * up).clamp(-3, 3) * scale - row
        best.append(float(((tried @ inputs.gram[0]) * tried).sum(1).min()))
    first, second = (float(errors(weight, layer, inputs, each, "w3t").sum()) for each in (before, after))
    assert first - second > 0.7 * (first - sum(best))


def test_codes_stay_in_range_and_scales_are_those_of_the_format() -> None:
    weight, layer, inputs = case()
    entries = ",".join(INTEGERS)
    for entry, found in zip(as_formats(entries), codes(Learned(steps=40), weight, layer, entries, inputs), strict=True):
        scheme = entry.weight_scheme
        assert scheme is not None
        low, high = (-(2 ** (scheme.bits - 1) - 1), 2 ** (scheme.bits - 1) - 1)
        if not scheme.symmetric:
            low, high = 0, 2**scheme.bits - 1
        assert low <= float(found.elements.min()) <= float(found.elements.max()) <= high
        kept = found.compact(entry)
        assert torch.equal(decode_weight(kept, entry, layer), decode_weight(found, entry, layer))
        if scheme.granularity == "tensor":
            assert float(found.scales) == float(encode_weight(weight, entry, layer).scales)


def test_other_formats_and_layers_without_inputs_are_rounded_by_the_start() -> None:
    weight, layer, inputs = case(n=64)
    for given in (inputs, None):
        both = (codes(each, weight, layer, "w1,fp8_e4m3,mxfp4,nvfp4", given) for each in (Gptq(), Learned()))
        pairs = zip(*both, strict=True)
        assert all(torch.equal(old.elements, new.elements) for old, new in pairs)
    (old,), (new,) = (codes(each, weight, layer, "w3", None) for each in (Gptq(), Learned()))
    assert torch.equal(old.elements, new.elements)


def test_a_group_that_no_input_reached_keeps_its_codes() -> None:
    weight, layer, inputs = case(groups=3)
    gram, rows = inputs.gram.clone(), inputs.rows.clone()
    gram[1], rows[1] = 0, 0
    inputs = InputStatistics(gram, rows)
    (old,), (new,) = (codes(each, weight, layer, "w3", inputs) for each in (POOR, Learned(start=POOR)))
    assert torch.equal(old.elements[4:8], new.elements[4:8])
    assert torch.equal(old.scales[4:8], new.scales[4:8])
    assert not torch.equal(old.elements[:4], new.elements[:4])


def test_with_other_inputs_the_output_of_the_float_network_is_what_counts() -> None:
    weight, layer, _ = case()
    generator = torch.Generator().manual_seed(5)
    wanted = torch.randn(1, 400, 40, generator=generator).double()
    seen = wanted + 0.5 * torch.randn(1, 400, 40, generator=generator).double()
    inputs = dataclasses.replace(statistics(seen), cross=wanted.transpose(1, 2) @ seen)
    (old,), (new,) = (codes(each, weight, layer, "w4", inputs) for each in (POOR, Learned(start=POOR)))

    def off(found: EncodedWeight) -> float:
        made = decode_weight(found, as_formats("w4")[0], layer, torch.float64)
        return float((seen @ made.T - wanted @ weight.double().T).square().sum())

    assert off(new) < off(old)


@pytest.mark.parametrize("entry", ["w3", "w4z", "w3t"])
def test_a_weight_that_its_codes_hold_exactly_keeps_them(entry: str) -> None:
    weight, layer, inputs = case()
    weight = quantize(weight, as_formats(entry)[0], layer)
    (old,), (new,) = (codes(each, weight, layer, entry, inputs) for each in (Gptq(), Learned(steps=20)))
    assert torch.equal(old.elements, new.elements)
    torch.testing.assert_close(decode_weight(new, as_formats(entry)[0], layer), weight)


def test_the_same_seed_gives_the_same_codes() -> None:
    model, data = two_blocks(), [torch.randn(24, 6, generator=torch.Generator().manual_seed(2))]
    banks = [round_weights(model, data, "w3", rounder=Learned("block", steps=20, seed=4)) for _ in range(2)]
    for layer in banks[0].layers:
        first, second = (coded(each.encoded(layer.name, each.formats[0])) for each in banks)
        assert torch.equal(first.elements, second.elements)
        assert torch.equal(first.scales, second.scales)


class Pair(nn.Module):
    """A block of two layers."""

    def __init__(self, d: int = 6) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(d, 2 * d), nn.Linear(2 * d, d)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = x + self.down(self.up(x).tanh())
        return made


def two_blocks() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(Pair(), Pair(), nn.Linear(6, 3)).eval()


@pytest.mark.slow
def test_in_a_block_its_output_error_never_rises_and_falls_from_a_poor_start() -> None:
    model, data = two_blocks(), [torch.randn(64, 6, generator=torch.Generator().manual_seed(2))]
    poor, learned = (round_weights(model, data, "w3", rounder=each) for each in (POOR, Learned("block", start=POOR)))
    fallen = 0
    for name in ("0.up", "0.down", "1.up", "1.down"):
        block, inner = name.split(".")
        x = data[0] if block == "0" else model[0](data[0])
        wanted, off = model[int(block)](x), []
        for bank in (poor, learned):
            weight = bank.weight(name, bank.formats[0])
            made = torch.func.functional_call(model[int(block)], {f"{inner}.weight": weight}, (x,))
            off.append(float((made - wanted).detach().square().sum()))
        assert off[1] <= off[0]
        fallen += off[1] < 0.9 * off[0]
    assert fallen >= 3


def test_the_model_is_given_back_as_it_was() -> None:
    model, data = two_blocks().train(), [torch.randn(8, 6)]
    before = {name: each.clone() for name, each in model.state_dict().items()}
    round_weights(model, data, "w3", rounder=Learned("block", steps=3))
    assert all(torch.equal(before[name], each) for name, each in model.state_dict().items())
    assert all(each.requires_grad and each.grad is None for each in model.parameters())
    assert all(module.training and not module._forward_hooks for module in model.modules())


def test_options_that_make_no_sense_are_refused() -> None:
    with pytest.raises(InvalidInput, match="unknown within of Learned 'blok'"):
        Learned("blok")
    with pytest.raises(InvalidInput, match="steps is 0"):
        Learned(steps=0)
    with pytest.raises(InvalidInput, match="rate is -1"):
        Learned(rate=-1)
    with pytest.raises(InvalidInput, match="seed is -1"):
        Learned(seed=-1)
