from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from torch import nn

import mckp_quant as mq
from mckp_quant import demo
from mckp_quant.errors import InvalidInput
from mckp_quant.evaluation.carriers import Carrier, Carriers
from mckp_quant.evaluation.evaluator import evaluate
from mckp_quant.sensitivity import GaussNewton

GENERATOR = torch.Generator().manual_seed(0)
BATCHES = [torch.randn(25, 6, generator=GENERATOR) for _ in range(4)]


def network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 5))


MODEL = network()
TABLE = mq.measure(MODEL, BATCHES, formats="w2,w3,w4,w8")


def policy(*names: str, table: mq.SensitivityTable = TABLE) -> mq.Policy:
    return mq.Policy.on_table(table, [table.formats[table.column(name)] for name in names])


def lowered(row: int, by: float) -> mq.SensitivityTable:
    loss = TABLE.loss.copy()
    loss[row] /= by
    return dataclasses.replace(TABLE, loss=loss, contributions=None, batch_sizes=None)


def test_layer_whose_entry_is_wrong_is_named() -> None:
    table = lowered(1, 50.0)
    got = mq.validate(MODEL, policy("w4", "w2", "w4", table=table), BATCHES, table=table)
    assert got.holds is False
    assert got.carriers is not None
    assert got.carriers.layers[0].layer == "2"
    assert "; 2 in w2 carries most of the difference, +" in got.verdict
    assert "too coarse for the quadratic model" in got.verdict


@pytest.mark.slow
def test_two_bits_everywhere_are_warned_about_and_four_are_not() -> None:
    model, held_out = demo.model(), demo.held_out()
    table = mq.measure(model, demo.calibration(), formats="w2,w4")
    broken, kept = (mq.validate(model, mq.Policy.uniform(table, name), held_out, table=table) for name in ("w2", "w4"))
    assert broken.holds is False
    assert " of a guess among 10 classes, where losses no longer add up" in broken.verdict
    assert broken.useless
    assert kept.holds is None  # a few images carry most of both figures
    assert kept.verdict.startswith("no verdict: measured / predicted is 0.66 +- ")


def test_layers_are_measured_alone_and_the_rest_is_what_they_do_together() -> None:
    mixed = policy("w2", "w3", "w4")
    got = mq.validate(MODEL, mixed, BATCHES, table=TABLE, by_layer=True).carriers
    assert got is not None
    for carrier in got.layers:
        alone = mq.Policy((carrier.layer,), (mq.Format.named(carrier.format),))
        measured = evaluate(mq.apply(MODEL, alone), MODEL, BATCHES)
        assert (carrier.measured, carrier.stderr) == (measured.kl, measured.kl_stderr)
        assert carrier.predicted == TABLE.loss[TABLE.row(carrier.layer), TABLE.column(carrier.format)]
    sizes = [abs(each.difference) for each in got.layers]
    assert sizes == sorted(sizes, reverse=True)
    whole = evaluate(mq.apply(MODEL, mixed), MODEL, BATCHES).kl
    assert got.together == pytest.approx(whole - sum(each.measured for each in got.layers))


def test_prediction_that_holds_costs_no_passes_for_layers() -> None:
    got = mq.validate(MODEL, policy("w8", "w4", "w8"), BATCHES, table=TABLE)
    assert got.holds
    assert got.carriers is None
    assert json.loads(json.dumps(got.document()))["carriers"] is None
    asked = mq.validate(MODEL, policy("w8", "w4", "w8"), BATCHES, table=TABLE, by_layer=True)
    assert len(json.loads(json.dumps(asked.document()))["carriers"]["layers"]) == 3
    assert asked.verdict == got.verdict


def test_broken_quadratic_model_gets_the_warning_and_a_fine_one_does_not() -> None:
    """Everything in two bits is far beyond the quadratic model; eight bits are well within."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        deep = nn.Sequential(*[part for _ in range(8) for part in (nn.Linear(12, 12), nn.ReLU())], nn.Linear(12, 5))
        for module in deep:
            if isinstance(module, nn.Linear):
                module.weight.data *= 3
    inputs = [torch.randn(25, 12, generator=torch.Generator().manual_seed(seed)) for seed in range(4)]
    table = mq.measure(deep, inputs, formats="w2,w8", method=GaussNewton(4))
    broken = mq.validate(deep, mq.Policy.uniform(table, "w2"), inputs, table=table)
    assert broken.holds is False
    assert broken.carriers is not None
    assert broken.verdict.startswith("the prediction fails, off by ")
    assert broken.carriers.words in broken.verdict
    assert mq.validate(deep, mq.Policy.uniform(table, "w8"), inputs, table=table).holds


@pytest.mark.parametrize(
    ("differences", "together", "words"),
    [
        ((0.1, 0.0), 0.5, "the layers' errors add to each other: +0.5 beside the sum of each alone"),
        ((0.1, 0.0), -0.5, "the layers' errors partly cancel each other: -0.5 beside the sum of each alone"),
        ((0.4, 0.0), 0.1, "a in w2 carries most of the difference, +0.4 (alone off by 5x): its rounding is too coarse"),
        (
            (-0.05, 0.0),
            0.0,
            "a in w2 carries most of the difference, -0.05 (alone off by 2x): the quadratic model overstates",
        ),
        ((-0.3, 0.0), 0.1, "alone predicted and measured differ in sign"),
    ],
)
def test_words_say_what_matters_most(differences: tuple[float, ...], together: float, words: str) -> None:
    layers = tuple(
        Carrier(name, "w2", 0.1, 0.1 + difference, 0.0) for name, difference in zip("ab", differences, strict=True)
    )
    assert words in Carriers(layers, together).words


def test_table_that_does_not_fit_is_refused() -> None:
    with pytest.raises(InvalidInput, match="by_layer needs the table"):
        mq.validate(MODEL, policy("w2", "w4", "w8"), BATCHES, by_layer=True)
    loss = TABLE.loss.copy()
    loss[0, 0] = math.nan
    holed = dataclasses.replace(TABLE, loss=loss)
    with pytest.raises(InvalidInput, match="the table does not allow format 'w2' for layer '0'"):
        mq.validate(MODEL, policy("w2", "w4", "w8"), BATCHES, table=holed, by_layer=True)
    assert np.isnan(holed.loss[0, 0])
