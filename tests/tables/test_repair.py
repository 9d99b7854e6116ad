"""Losses that cannot be: named, and capped only where the user asks for it."""

from __future__ import annotations

import dataclasses
import logging
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import nn

import mckp_quant as mq
from mckp_quant.tables import cap_losses, read_table, write_table
from mckp_quant.tables.repair import negative_words

if TYPE_CHECKING:
    from pathlib import Path

GENERATOR = torch.Generator().manual_seed(0)
BATCHES = [(torch.randn(20, 6, generator=GENERATOR), torch.randint(5, (20,), generator=GENERATOR)) for _ in range(3)]


def network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 5))


TABLE = mq.measure(network(), BATCHES, formats="w2,w4")


def with_losses(*losses: float) -> mq.SensitivityTable:
    return dataclasses.replace(
        TABLE, loss=np.array(losses).reshape(2, 2), contributions=None, batch_sizes=None, method="hessian_form"
    )


def test_classes_are_those_of_the_outputs_and_none_of_a_regression() -> None:
    assert TABLE.classes == 5
    assert TABLE.guessing == math.log(5)
    inputs = [batch for batch, _ in BATCHES]
    regression = mq.measure(network(), inputs, formats="w2", outputs=mq.Outputs(likelihood="gaussian"))
    assert (regression.classes, regression.guessing) == (0, math.inf)
    free = mq.measure(network(), inputs, formats="w2", method="weight_mse")
    assert (free.classes, free.guessing) == (0, math.inf)


@pytest.mark.parametrize("name", ["table.json", "table.csv", "table.npz"])
@pytest.mark.parametrize("classes", [0, 5])
def test_classes_survive_every_file(tmp_path: Path, name: str, classes: int) -> None:
    table = dataclasses.replace(TABLE, classes=classes)
    write_table(table, tmp_path / name)
    assert read_table(tmp_path / name).table.classes == classes


@pytest.mark.parametrize("classes", [-1, 2.5])
def test_classes_that_are_no_count_are_refused(classes: float) -> None:
    with pytest.raises(mq.InvalidInput, match=f"classes is {classes}: it must be a whole number, at least 0"):
        dataclasses.replace(TABLE, classes=classes)  # type: ignore[arg-type]


def test_caps_lower_what_lies_above_a_guess_and_nothing_else() -> None:
    table = with_losses(300.0, 0.1, 1.5, -0.2)
    got = cap_losses(table)
    np.testing.assert_array_equal(got.loss, [[math.log(5), 0.1], [1.5, -0.2]])
    assert math.isnan(got.stderr[0, 0])
    np.testing.assert_array_equal(got.stderr[1], table.stderr[1])
    assert got.method == "hessian_form, capped at a guess"
    assert table.loss[0, 0] == 300.0
    assert cap_losses(TABLE) is TABLE


def test_caps_take_the_classes_that_a_table_lacks() -> None:
    unknown = dataclasses.replace(with_losses(300.0, 0.1, 1.5, 0.2), classes=0, likelihood="")
    np.testing.assert_array_equal(cap_losses(unknown, 3).loss, [[math.log(3), 0.1], [math.log(3), 0.2]])
    with pytest.raises(mq.InvalidInput, match=r"likelihood '' and 0 classes: only losses in nats .* give classes="):
        cap_losses(unknown)
    with pytest.raises(mq.InvalidInput, match="likelihood 'gaussian'"):
        cap_losses(dataclasses.replace(unknown, likelihood="gaussian"), 3)
    with pytest.raises(mq.InvalidInput, match="unit 'top-1 points'"):
        cap_losses(dataclasses.replace(unknown, unit="top-1 points"), 3)
    with pytest.raises(mq.InvalidInput, match="classes is 1: it must be a whole number, at least 2"):
        cap_losses(unknown, 1)


def test_negative_losses_are_named_with_the_least() -> None:
    table = with_losses(0.3, -0.1, -0.2, 0.1)
    words = negative_words(table, table.loss < 0)
    assert words.startswith("2 losses are below zero, the least -0.2 of layer '2' in format 'w2': what hessian_form ")
    assert negative_words(table, np.zeros((2, 2), dtype=bool)) == ""


def test_measuring_warns_of_them(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        table = mq.measure(network(), BATCHES, formats="w2,w4", method="first_order")
    assert (table.loss < 0).any()
    assert any("below zero, the least -" in record.message for record in caplog.records)
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        mq.measure(network(), BATCHES, formats="w2,w4")
    assert not any("below zero" in record.message for record in caplog.records)


def test_allocation_notes_what_it_takes_for_a_gain_and_what_makes_the_network_useless() -> None:
    def notes(*losses: float) -> str:
        return "; ".join(mq.allocate(with_losses(*losses), {"weight_bytes": "100%"}).notes)

    assert "1 loss is below zero, the least -0.2 of layer '2' in format 'w2'" in notes(0.3, 0.1, -0.2, 0.1)
    assert "below zero" not in notes(0.3, 0.1, 0.2, 0.1)
    assert "layer '0' gets a format whose loss is above the 1.61 nats of a guess among 5 classes" in notes(9, 8, 1, 0.5)
    assert "layer '0' and 1 more gets" in notes(9, 8, 7, 6)
    assert "guess" not in notes(9, 0.1, 1, 0.5)
