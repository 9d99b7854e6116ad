from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

import mckp_quant as mq
from mckp_quant.formats.format import as_formats
from mckp_quant.stability.sanity import KEPT, check_table


def table(formats: str = "w2,w3,w4,w8", layers: int = 6) -> mq.SensitivityTable:
    entries = as_formats(formats)
    rows = tuple(mq.Layer(f"layer{row}", "linear", (4, 25), 4, 100) for row in range(layers))
    scale = np.exp(np.random.default_rng(0).normal(size=(layers, 1)))
    loss = scale * 4.0 ** -np.array([entry.weight_bits for entry in entries])
    return mq.SensitivityTable(rows, entries, loss, 0.1 * loss)


def changed(given: mq.SensitivityTable, row: int, column: int, loss: float) -> mq.SensitivityTable:
    losses = given.loss.copy()
    losses[row, column] = loss
    return dataclasses.replace(given, loss=losses)


def test_sound_table_raises_no_doubt() -> None:
    assert check_table(table()) == ()
    assert check_table(table("w2,w3,w4,w8,w4a8")) == ()


def test_negative_entry_is_listed_with_its_size() -> None:
    (doubt,) = (each for each in check_table(changed(table(), 2, 3, -0.01)) if each.kind == "negative")
    assert (doubt.layer, doubt.format, doubt.done) == ("layer2", "w8", KEPT)
    assert "the loss is -0.01, below zero, " in doubt.words
    assert doubt.words.endswith(": it counts as a gain")
    assert str(doubt).startswith("layer 'layer2', format 'w8': ")
    assert str(doubt).endswith(" - kept as it was measured")


def test_loss_above_that_of_a_guess_is_listed_where_the_classes_are_known() -> None:
    given = changed(table(), 1, 0, 2.5)
    known = dataclasses.replace(given, likelihood="categorical", classes=10)
    (doubt,) = (each for each in check_table(known) if each.kind == "guess")
    assert (doubt.layer, doubt.format) == ("layer1", "w2")
    assert doubt.words.startswith("the loss is 2.5, above the 2.3 nats that a guess among 10 classes loses")
    for silent in (
        given,
        dataclasses.replace(known, classes=13),
        dataclasses.replace(known, likelihood="gaussian"),
        dataclasses.replace(known, unit="top-1 points"),
    ):
        assert not any(each.kind == "guess" for each in check_table(silent))


@pytest.mark.parametrize(
    ("stderr", "words"), [(1e-6, "more than noise"), (10.0, "within its error"), (math.nan, "not known")]
)
def test_rise_is_listed_with_its_weight(stderr: float, words: str) -> None:
    given = table()
    risen = changed(given, 1, 2, 1.05 * float(given.loss[1, 1]))
    doubts = check_table(dataclasses.replace(risen, stderr=np.full_like(given.loss, stderr)))
    (doubt,) = (each for each in doubts if each.kind == "rise")
    assert (doubt.layer, doubt.format) == ("layer1", "w4")
    assert "above that of 'w3' with fewer bits" in doubt.words
    assert words in doubt.words


def test_rise_is_judged_batch_by_batch_where_batches_are_known() -> None:
    """Both formats scatter widely from batch to batch, but always together."""
    given = table()
    risen = changed(given, 1, 2, 1.05 * float(given.loss[1, 1]))
    swing = np.array([0.2, 1.8, 0.5, 1.5])[:, None, None]
    known = dataclasses.replace(risen, stderr=risen.loss, contributions=risen.loss * swing, batch_sizes=np.ones(4))
    (doubt,) = (each for each in check_table(known) if each.kind == "rise")
    assert "more than noise" in doubt.words


def test_formats_of_other_activation_bits_are_not_compared() -> None:
    given = table("w4,w8,w4a8")
    assert [each for each in check_table(changed(given, 0, 2, 5.0)) if each.kind == "rise"] == []


@pytest.mark.parametrize("times", [30.0, 1 / 30])
def test_outlier_is_listed_and_the_units_of_layers_are_not(times: float) -> None:
    given = table(layers=8)
    entry = float(given.loss[3, 1]) * times
    doubts = [each for each in check_table(changed(given, 3, 1, entry)) if each.kind == "outlier"]
    assert [(each.layer, each.format) for each in doubts] == [("layer3", "w3")]
    assert f"30 times {'larger' if times > 1 else 'smaller'} than its layer and its format suggest" in doubts[0].words
    scaled = dataclasses.replace(given, loss=given.loss * 10.0 ** np.arange(8)[:, None])
    assert check_table(scaled) == ()


def test_layer_that_is_noise_is_listed_once() -> None:
    given = table()
    stderr = given.stderr.copy()
    stderr[4] = 0.8 * given.loss[4]
    (doubt,) = check_table(dataclasses.replace(given, stderr=stderr))
    assert (doubt.kind, doubt.layer, doubt.format) == ("noise", "layer4", "")
    assert doubt.words == "its standard errors are 80 % of its losses"


def test_forbidden_formats_and_zeros_are_no_doubt_and_the_table_stays() -> None:
    given = changed(changed(table(), 0, 0, math.nan), 1, 3, 0.0)
    before = given.loss.copy()
    assert check_table(given) == ()
    np.testing.assert_array_equal(given.loss, before)


def test_small_tables_have_no_outliers() -> None:
    assert [each for each in check_table(table("w2,w4", layers=3)) if each.kind == "outlier"] == []
