from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

import mckp_quant as mq
from mckp_quant import InvalidInput
from mckp_quant.formats.format import as_formats
from mckp_quant.network.discovery import discover
from mckp_quant.rounding.weights import perturbations
from mckp_quant.sensitivity import ESTIMATORS, errors
from mckp_quant.sensitivity.cache import layer_weights
from mckp_quant.sensitivity.engine.rates import Rates
from mckp_quant.sensitivity.errors import errors_bytes, fitting

from .tiny import conv_net, transformer

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

FORMATS = "w2,w3,w4,w8"
EVERY = "w1,w2,w4,w8,w4g16,w3z,w8t,mxfp4,nvfp4,fp8_e4m3,float"
RATES = Rates(1e9, (1e-9,) * 4, again=(1e-9,) * 4)


def least(model: nn.Module, batch: object, formats: str = FORMATS, method: str = "gauss_newton") -> int:
    return mq.plan(model, batch, formats=formats, method=method, rates=RATES).least


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("net", [conv_net, transformer])
def test_what_is_computed_again_is_what_rounding_to_nearest_gives(net: object, dtype: torch.dtype) -> None:
    model, inputs = conv_net() if net is conv_net else transformer()
    layers, columns = discover(model, inputs), as_formats(EVERY)
    model = model.to(dtype)
    held, none = (layer_weights(model, layers, columns, held=held) for held in (2**30, 0))
    for kept, again in zip(held, none, strict=True):
        expected = perturbations(kept.parameters[0], columns, kept.layer)
        assert kept.errors.held is not None
        assert again.errors.held is None
        assert kept.perturbations.equal(expected)
        assert again.perturbations.equal(expected)
        assert all(again.errors.column(at).equal(each) for at, each in enumerate(expected))
        assert torch.cat([each.clone() for _, each in again.errors.pieces()], dim=1).equal(expected)
        assert kept.digest == again.digest
        assert again.columns == len(columns)


def test_pieces_and_rows_are_those_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs = transformer()
    monkeypatch.setattr(errors, "PIECE", 500)
    columns = as_formats("w2,w4,w4g16,fp8_e4m3")
    bank = mq.round_weights(model, [inputs], columns, rounder="nearest")
    for source in (None, bank):
        cut = 0
        for weight in layer_weights(model, discover(model, inputs), columns, held=0, bank=source):
            expected = perturbations(weight.parameters[0], columns, weight.layer)
            pieces = [(rows, each.clone()) for rows, each in weight.errors.pieces()]
            cut += len(pieces) > 1
            assert torch.cat([each for _, each in pieces], dim=1).equal(expected)
            assert all(expected[:, rows].equal(each) for rows, each in pieces)
            index = torch.tensor([0, len(expected[0]) - 1])
            assert weight.errors.rows(index).equal(expected[:, index])
            squares = expected.flatten(1).square().sum(dim=1)
            torch.testing.assert_close(weight.errors.squares(), squares, rtol=1e-12, atol=0)
            assert weight.errors.coarsest().equal(expected[int(squares.argmax())])
        assert cut >= 3


def test_layers_in_pieces_have_the_losses_of_whole_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs = transformer()
    whole = mq.measure(model, [inputs], formats="w2,w4")
    monkeypatch.setattr(errors, "PIECE", 200)
    monkeypatch.setattr("mckp_quant.sensitivity.memory.fitting.HELD", 0)
    cut = mq.measure(model, [inputs], formats="w2,w4")
    np.testing.assert_allclose(cut.loss, whole.loss, rtol=1e-12)


def test_what_fits_is_held_in_the_order_of_the_layers() -> None:
    assert fitting([3, 5, 2, 1], 6) == [True, False, True, True]
    assert fitting([3, 5], 0) == [False, False]


def test_own_formats_are_asked_once(tmp_path: Path) -> None:
    model, inputs = conv_net()
    asked = []

    def halved(weight: torch.Tensor) -> torch.Tensor:
        asked.append(weight.shape)
        return weight / (2 + len(asked))

    own = mq.Format("own", 4, quantize=halved, stored_bits=lambda layer: layer.elements)
    weights = layer_weights(model, discover(model, inputs), [own], held=0)
    before = len(asked)
    assert all(each.perturbations.equal(each.perturbations) for each in weights)
    assert len(asked) == before == len(weights)


def test_a_limit_below_what_works_is_refused_with_the_least() -> None:
    model, inputs = conv_net()
    needed = least(model, inputs)
    message = f"memory_limit is {needed - 1:,} bytes, but measuring takes at least {needed:,} beside Python"
    with pytest.raises(InvalidInput, match=message):
        mq.measure(model, [inputs], formats=FORMATS, run=mq.RunOptions(memory_limit=needed - 1))
    with pytest.raises(InvalidInput, match="it has no ModuleList or Sequential with two members that hold others"):
        mq.plan(model, inputs, formats=FORMATS, rates=RATES, run=mq.RunOptions(memory_limit=1))
    with pytest.raises(InvalidInput, match="memory_limit = '10%' is a percentage, but of nothing"):
        mq.measure(model, [inputs], formats=FORMATS, run=mq.RunOptions(memory_limit="10%"))


@pytest.mark.parametrize("method", sorted(set(ESTIMATORS) - {"metric"}))
def test_every_method_gives_the_same_bits_under_a_limit(method: str) -> None:
    model, inputs = transformer()
    batches = [(inputs[:4], inputs[:4]), (inputs[4:], inputs[4:])]
    free = mq.measure(model, batches, formats="w2,w4", method=method)
    limit = mq.RunOptions(memory_limit=least(model, batches[0], "w2,w4", method))
    bound = mq.measure(model, batches, formats="w2,w4", method=method, run=limit)
    np.testing.assert_array_equal(bound.loss, free.loss)
    np.testing.assert_array_equal(bound.stderr, free.stderr)


def test_a_run_that_stops_under_a_limit_goes_on_without_one_to_the_same_bits(tmp_path: Path) -> None:
    model, inputs = conv_net()
    batches = [inputs[:3], inputs[3:6], inputs[6:]]
    whole = mq.measure(model, batches, formats=FORMATS)
    bound = mq.RunOptions(checkpoint=tmp_path / "run.json", memory_limit=least(model, batches[0]))
    mq.measure(model, batches[:1], formats=FORMATS, run=bound)
    assert len(json.loads((tmp_path / "run.json").read_text())["samples"]) == 1
    free = dataclasses.replace(bound, memory_limit=None, cache=tmp_path / "cache")
    mq.measure(model, batches[:2], formats=FORMATS, run=free)
    resumed = mq.measure(model, batches, formats=FORMATS, run=bound)
    np.testing.assert_array_equal(resumed.loss, whole.loss)
    np.testing.assert_array_equal(resumed.stderr, whole.stderr)


def test_the_bytes_of_errors_are_those_of_the_tensor() -> None:
    model, inputs = conv_net()
    for weight in layer_weights(model, discover(model, inputs), as_formats("w2,w4")):
        held = weight.perturbations
        assert errors_bytes(weight.layer, 2, weight.parameters[0].dtype) == held.numel() * held.element_size()
