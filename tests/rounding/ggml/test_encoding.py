"""Weights rounded to blocks: ggml's own bytes where there is one formula, and otherwise the least error."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

import mckp_quant as mq
from mckp_quant.errors import InvalidInput
from mckp_quant.formats.blocks import GGML_FORMATS
from mckp_quant.layers import Layer
from mckp_quant.rounding.encoded import BlockWeight, EncodedWeight, OpaqueWeight, decode_weight
from mckp_quant.rounding.ggml.encoding import decode_rows, encode_rows
from mckp_quant.rounding.ggml.kinds import kind_of
from mckp_quant.rounding.ggml.layout import from_bytes
from mckp_quant.rounding.ggml.reference import REFERENCE
from mckp_quant.rounding.ggml.superblocks import fitted_blocks
from mckp_quant.rounding.weights import encode_weight

ROWS = torch.randn(24, 512, generator=torch.Generator().manual_seed(3)) * torch.logspace(-4, 2, 24)[:, None]
IMPORTANCE = torch.exp(2 * torch.randn(512, generator=torch.Generator().manual_seed(4)))


def error(rows: torch.Tensor, name: str, importance: torch.Tensor | None = None) -> torch.Tensor:
    """The weighed squared error of each row, relative to its squares."""
    weights = torch.ones(rows.shape[1]) if importance is None else importance
    given = None if importance is None else importance.expand_as(rows)
    made = decode_rows(encode_rows(rows, name, given), name, rows.shape[1])
    return ((made - rows) ** 2 * weights).sum(dim=1) / (rows**2 * weights).sum(dim=1)


@pytest.mark.parametrize("name", REFERENCE)
def test_no_byte_differs_from_the_reference_quantiser(name: str) -> None:
    gguf = pytest.importorskip("gguf")
    special = torch.zeros(4, 512)
    special[1], special[2], special[3, ::2] = 0.25, -3.0, torch.linspace(-8, 8, 256)
    rows = torch.cat([ROWS, special])
    wanted = gguf.quantize(rows.numpy(), gguf.GGMLQuantizationType[name.upper()])
    assert (encode_rows(rows, name).numpy() == wanted).all()


@pytest.mark.parametrize("name", GGML_FORMATS)
def test_each_code_is_the_best_for_its_scale(name: str) -> None:
    kind = kind_of(name)
    blocks = from_bytes(encode_rows(ROWS, name, torch.ones_like(ROWS)).reshape(-1, kind.nbytes), kind)
    rows = ROWS.reshape(-1, kind.block)
    own = (blocks.values(kind) - rows).abs()
    least, most = (0, 15) if kind.table else (kind.least, kind.most)
    for step in (-1, 1):
        moved = type(blocks)(
            (blocks.codes + step).clamp(least, most), blocks.scale, blocks.scales, blocks.minimum, blocks.minima
        )
        assert bool((own <= (moved.values(kind) - rows).abs() * (1 + 1e-3)).all())


@pytest.mark.parametrize("name", GGML_FORMATS)
def test_importance_lowers_the_error_that_it_weighs(name: str) -> None:
    rows = ROWS[6:]  # of smaller ones the scales of scales are too small for float16
    plain, weighed = (
        (decode_rows(encode_rows(rows, name, given), name, 512) - rows) ** 2
        for given in (torch.ones_like(rows), IMPORTANCE.expand_as(rows))
    )
    relative = (rows**2 * IMPORTANCE).sum(dim=1)
    assert float(((weighed * IMPORTANCE).sum(dim=1) / relative).sum()) < 0.97 * float(
        ((plain * IMPORTANCE).sum(dim=1) / relative).sum()
    )
    assert float((plain.sum(dim=1) / (rows**2).sum(dim=1)).sum()) < float(
        (weighed.sum(dim=1) / (rows**2).sum(dim=1)).sum()
    )


@pytest.mark.parametrize("name", REFERENCE)
def test_the_search_is_better_than_the_formula(name: str) -> None:
    assert float(error(ROWS[6:], name, torch.ones(512)).sum()) < 0.95 * float(error(ROWS[6:], name).sum())


def test_more_bits_have_less_error() -> None:
    errors = [float(error(ROWS[6:], name).sum()) for name in ("q2_k", "q3_k", "q4_k", "q5_k", "q6_k", "q8_0")]
    assert errors == sorted(errors, reverse=True)
    assert all(high > 2.5 * low for high, low in pairwise(errors))


def test_minima_serve_rows_that_lie_on_one_side() -> None:
    rows = ROWS[12:16].abs() + ROWS[12:16].abs().amax()  # far from zero, but capped minima reach to zero at most
    assert float(error(-rows, "q4_k").mean()) < 0.5 * float(error(rows, "q4_k").mean())
    assert float(error(rows, "q4_1").mean()) == pytest.approx(float(error(-rows, "q4_1").mean()), rel=0.2)


@pytest.mark.parametrize("name", GGML_FORMATS)
def test_powers_of_two_and_zeros_change_nothing(name: str) -> None:
    rows = ROWS[12:16]
    once, large = (decode_rows(encode_rows(each, name), name, 512) for each in (rows, 4 * rows))
    assert torch.equal(4 * once, large)
    assert not bool(decode_rows(encode_rows(torch.zeros(2, 512), name), name, 512).any())
    huge = decode_rows(encode_rows(torch.full((1, 256), 1e38), name), name, 256)
    assert bool(huge.isfinite().all())


def test_rows_are_filled_up_to_whole_blocks_and_cut_off_again() -> None:
    layer = Layer("short", "linear", (3, 40), 3, None)
    weight = ROWS[14:17, :40]
    entry = mq.Format.named("q4_k")
    assert entry.storage_bytes(layer) == 3 * 144
    made = mq.rounding.quantize(weight, entry, layer)
    assert made.shape == weight.shape
    assert float((made - weight).abs().max()) < 0.1 * float(weight.abs().max())
    with pytest.raises(InvalidInput, match="'q4_k' has blocks, whose codes and scales lie together"):
        encode_weight(weight, entry, layer)


def test_blocks_of_another_format_or_layer_are_refused() -> None:
    layer, entry = Layer("a", "linear", (24, 512), 24, None), mq.Format.named("q4_k")
    made = BlockWeight(encode_rows(ROWS, "q4_k"))
    assert made.nbytes == entry.storage_bytes(layer)
    assert torch.equal(decode_weight(made, entry, layer), mq.rounding.quantize(ROWS, entry, layer))
    for other in ("q5_k", "w4"):
        with pytest.raises(InvalidInput, match=r"blocks of the shape \(24, 288\), but in '" + other):
            decode_weight(made, mq.Format.named(other), layer)
    with pytest.raises(InvalidInput, match=r"layer 'a' has codes, but 'q4_k' has blocks"):
        decode_weight(EncodedWeight(ROWS, ROWS[:, :1]), entry, layer)
    assert torch.equal(decode_weight(OpaqueWeight(ROWS), entry, layer), ROWS)


def test_a_block_of_equal_weights_is_exact_where_there_is_one_scale() -> None:
    kind = kind_of("iq4_nl")
    rows = torch.full((1, 32), 113 * 0.25)
    assert torch.equal(fitted_blocks(rows, torch.ones(1, 32), kind).values(kind), rows)


def test_banks_keep_blocks(tmp_path: object) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(256, 8))
    bank = mq.round_weights(model, [torch.randn(6, 256)], "q3_k,w4", output=f"{tmp_path}/bank")
    read = mq.WeightBank.load(f"{tmp_path}/bank")
    found = read.encoded("0", mq.Format.named("q3_k"))
    assert isinstance(found, BlockWeight)
    assert torch.equal(found.data, bank.encoded("0", mq.Format.named("q3_k")).data)  # type: ignore[union-attr]
    weight = read.weight("0", mq.Format.named("q3_k"))
    again = mq.WeightBank.of_weights(model, {"0": {"q3_k": weight}}, rounder="another")
    assert torch.equal(again.weight("0", mq.Format.named("q3_k")), weight)
    assert np.isfinite(weight.numpy()).all()
