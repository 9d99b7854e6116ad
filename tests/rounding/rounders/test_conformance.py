"""What every rounder must do, for every kind of layer and format; a new one is tested by being in `ROUNDERS`."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pytest
import torch

import mckp_quant as mq
from mckp_quant import Format
from mckp_quant.network.weight_uses import uses_in
from mckp_quant.rounding import ROUNDERS, EncodedWeight, decode_weight
from mckp_quant.rounding.banking import encode_layer
from mckp_quant.rounding.encoded import BlockWeight, OpaqueWeight
from mckp_quant.rounding.rounders import rounder_named
from mckp_quant.rounding.rounders.nearest import nearest
from mckp_quant.rounding.rows import channel_rows, per_element
from mckp_quant.rounding.statistics import gather_statistics

from ..networks import NAMES, layer_of, networks
from .test_gptq import small_floats

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from mckp_quant import Layer, WeightBank
    from mckp_quant.rounding.encoded import StoredWeight
    from mckp_quant.rounding.rounder import InputStatistics, Rounder

HALVED = Format(
    "halved", 8, quantize=lambda weight: (weight * 2).round() / 2, stored_bits=lambda layer: 8 * layer.elements
)
NAMED = (
    *(f"w{bits}" for bits in range(1, 9)),
    *("w1g16", "w3t", "w4tz", "w2z", "w4g32", "w3g16z", "w8z", "fp8_e4m3", "fp8_e4m3t", "fp8_e5m2", "mxfp4", "nvfp4"),
    *("w4a8", "w4a8d", "w2z" + "a8s", "fp8_e4m3a8", "q4_k", "iq4_nl"),
)
FORMATS = (*(Format.named(name) for name in NAMED), HALVED)


@dataclass(frozen=True)
class Shrunk:
    """A rounder of the tests: nearest, of a smaller weight."""

    share: float = 0.9
    name: ClassVar[str] = "shrunk"
    reference: ClassVar[str] = "none"
    needs: ClassVar[str] = "nothing"

    def encode(
        self, weight: Tensor, layer: Layer, formats: Sequence[Format], inputs: InputStatistics | None
    ) -> list[StoredWeight]:
        return [nearest(weight * self.share, entry, layer) for entry in formats]


STEPS = {"learned": 6}  # of learning, whose rules do not depend on how many there are
EVERY: dict[str, Rounder] = {
    **{name: ROUNDERS[name](**({"steps": STEPS[name]} if name in STEPS else {})) for name in ROUNDERS},
    "shrunk": Shrunk(),
}


def bank_of(rounder: str, name: str, formats: Sequence[Format] = FORMATS) -> WeightBank:
    model, batch = networks()[name]
    return mq.round_weights(
        model, [batch[: len(batch) // 2], batch[len(batch) // 2 :]], formats, rounder=EVERY[rounder]
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rounder", EVERY)
def test_codes_are_of_the_format_the_weight_is_untouched_and_twice_gives_the_same(rounder: str, name: str) -> None:
    model, _, layer = layer_of(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    bank = bank_of(rounder, name)
    assert {key: torch.equal(value, before[key]) for key, value in model.state_dict().items()} == dict.fromkeys(
        before, True
    )
    assert bank.layers == (layer,)
    again = bank_of(rounder, name)
    for entry in FORMATS:
        found = bank.encoded(layer.name, entry)
        check(found, entry, layer)
        assert parts(found) == parts(again.encoded(layer.name, entry)), entry.name
    assert bank.digest == again.digest
    for entry in FORMATS[4:8]:  # with so many bits, no rounder may leave the weight far away
        weight = uses_in(model)[layer.name].weight.detach()
        far = (bank.weight(layer.name, entry) - weight).abs().max()
        assert float(far) < 0.35 * float(weight.abs().max()), entry.name


def check(found: StoredWeight, entry: Format, layer: Layer) -> None:
    """Refuse codes that the format does not have, and weights that are not made of them."""
    weight = decode_weight(found, entry, layer)
    assert tuple(weight.shape) == layer.shape
    assert bool(weight.isfinite().all())
    if isinstance(found, OpaqueWeight):
        assert entry is HALVED
        assert torch.equal(weight * 2, (weight * 2).round())
        return
    scheme = entry.weight_scheme
    assert scheme is not None
    if isinstance(found, BlockWeight):
        assert scheme.family == "ggml"
        assert found.nbytes == entry.storage_bytes(layer)
        return
    assert found.scales.numel() == scheme.scales(layer)
    codes, scales = found.elements.double(), found.scales.double()
    assert bool((scales > 0).all()) or scheme.bits == 1  # whose rows of zeros have the scale zero
    assert bool((scales >= 0).all())
    if scheme.scale == "float16":
        assert torch.equal(scales, scales.half().double())
    elif scheme.scale == "e8m0":
        assert torch.equal(torch.frexp(scales)[0], torch.full_like(scales, 0.5))
    elif scheme.scale == "e4m3":
        assert set(scales.flatten().tolist()) <= set(small_floats("e4m3"))
    elif found.scales.dtype != torch.float64:  # those of float64 weights are found in float64
        assert torch.equal(scales, scales.float().double())
    if scheme.element != "int":
        assert set(codes.flatten().tolist()) <= set(small_floats(scheme.element))
    else:
        least, most = (
            (0, 2**scheme.bits - 1)
            if not scheme.symmetric
            else (1 - 2 ** (scheme.bits - 1), 2 ** (scheme.bits - 1) - 1)
        )
        if scheme.bits == 1:
            least, most = -1, 1
            assert bool((codes != 0).all())
        assert torch.equal(codes, codes.round())
        assert least <= float(codes.min())
        assert float(codes.max()) <= most
    zeros = torch.zeros(()) if found.zero_points is None else per_element(found.zero_points.double(), scheme, layer)
    if found.zero_points is not None:
        assert 0 <= int(found.zero_points.min()) <= int(found.zero_points.max()) < 2**scheme.bits
    values = (codes - zeros) * per_element(scales, scheme, layer) * found.tensor_scale
    torch.testing.assert_close(channel_rows(weight, layer), values.float(), rtol=1e-6, atol=0)


def parts(found: StoredWeight) -> list[object]:
    if isinstance(found, BlockWeight):
        return [found.data.tolist()]
    held = [found.values] if isinstance(found, OpaqueWeight) else [found.elements, found.scales, found.zero_points]
    return [None if each is None else (str(each.dtype), each.tolist()) for each in held]


def digest_of_codes(rounder: str) -> str:
    """Of the codes of a few networks, for another process."""
    import hashlib

    content = hashlib.sha256()
    for name in ("linear on sequences", "depthwise"):
        bank = bank_of(rounder, name, FORMATS[::3])
        for entry in FORMATS[::3]:
            content.update(repr(parts(bank.encoded(bank.layers[0].name, entry))).encode())
    return content.hexdigest()


@pytest.mark.slow
def test_another_process_and_two_threads_give_the_same_codes() -> None:
    script = (
        "import torch; from tests.rounding.rounders.test_conformance import EVERY, digest_of_codes as d;"
        "torch.set_num_threads(2); print(*map(d, EVERY))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "7"},
    )
    assert done.stdout.split() == [digest_of_codes(rounder) for rounder in EVERY]


@pytest.mark.parametrize("rounder", EVERY)
def test_codes_bear_the_tolerance_of_the_sums(rounder: str) -> None:
    """Threads and machines add in another order: in float64 that changes sums by about 1e-13 of their size."""
    model, batch, layer = layer_of("linear on sequences")
    weight = uses_in(model)[layer.name].weight.detach()
    statistics = gather_statistics(model, [batch], [layer])
    moved = {
        key: type(each)(each.gram * (1 + 1e-13 * torch.randn(each.gram.shape).triu().add(0)), each.rows)
        for key, each in statistics.items()
    }
    made = [encode_layer(EVERY[rounder], weight, layer, FORMATS, each) for each in (statistics, moved)]
    assert all(parts(made[0][entry]) == parts(made[1][entry]) for entry in FORMATS)


@pytest.mark.parametrize("rounder", EVERY)
def test_half_precision_and_rows_of_zeros_are_rounded_too(rounder: str) -> None:
    _, _, layer = layer_of("linear")
    weight = torch.randn(layer.shape, generator=torch.Generator().manual_seed(0))
    weight[1] = 0
    for dtype in (torch.float64, torch.bfloat16, torch.float16):
        made = EVERY[rounder].encode(weight.to(dtype), layer, [entry.weights_only for entry in FORMATS], None)
        for entry, found in zip(FORMATS, made, strict=True):
            check(found, entry, layer)
            if entry.weight_scheme is not None and entry.weight_scheme.bits > 1:
                assert not bool(decode_weight(found, entry, layer)[1].any())


@pytest.mark.parametrize("rounder", EVERY)
def test_it_says_what_it_is(rounder: str) -> None:
    own = EVERY[rounder]
    assert own.name == rounder
    assert own.reference
    assert own.needs in {"nothing", "inputs"}
    assert rounder not in ROUNDERS or type(rounder_named(rounder)) is type(own)
    assert isinstance(bank_of(rounder, "linear", FORMATS[:1]).encoded("0", FORMATS[0]), EncodedWeight)
