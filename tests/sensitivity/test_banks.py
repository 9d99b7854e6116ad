"""Tables of weights from a bank: every estimator's losses are those of the bank's weights."""

from __future__ import annotations

import dataclasses
import logging
from typing import TYPE_CHECKING

import numpy as np
import pytest

import mckp_quant as mq
from mckp_quant import InvalidInput
from mckp_quant.formats import menu
from mckp_quant.formats.format import as_formats
from mckp_quant.network.fingerprint import tensor_digest
from mckp_quant.network.weight_uses import uses_in
from mckp_quant.rounding import Gptq, Nearest, WeightBank
from mckp_quant.sensitivity import ESTIMATORS
from mckp_quant.sensitivity.cache import layer_weights
from mckp_quant.sensitivity.columns import Menu

from .estimators.conformance import example, pairs
from .tiny import conv_net, perceptron, transformer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor, nn

FORMATS = "w2,w4"
READING_INPUTS = [name for name, each in ESTIMATORS.items() if each.reads_inputs]


def own_formats(bank: WeightBank, model: nn.Module) -> list[mq.Format]:
    """A user's own formats that give the bank's tensors."""
    names = {tensor_digest(use.weight): name for name, use in uses_in(model).items()}

    def own(entry: mq.Format) -> mq.Format:
        def quantize(weight: Tensor) -> Tensor:
            return bank.weight(names[tensor_digest(weight)], entry, weight.dtype)

        return mq.Format(
            f"own-{entry.name}",
            entry.weight_bits,
            entry.activation_bits,
            quantize=quantize,
            stored_bits=lambda layer: entry.storage_bits(layer),
        )

    return [own(entry) for entry in bank.formats]


@pytest.mark.parametrize("method", ESTIMATORS)
@pytest.mark.parametrize("network", [conv_net, transformer])
def test_losses_are_those_of_a_users_own_format_with_the_same_weights(
    method: str, network: Callable[[], tuple[nn.Module, Tensor]]
) -> None:
    model, inputs = network()
    bank = mq.round_weights(model, [inputs], FORMATS, rounder=Gptq(damping=0.1))
    data = pairs(inputs)
    table = mq.measure(model, data, formats=FORMATS, method=example(method), bank=bank)
    expected = mq.measure(model, data, formats=own_formats(bank, model), method=example(method))
    np.testing.assert_array_equal(table.loss, expected.loss)
    np.testing.assert_array_equal(table.stderr, expected.stderr)
    assert table.rounder == bank.rounder
    assert expected.rounder == "nearest"
    assert (table.loss != mq.measure(model, data, formats=FORMATS, method=example(method)).loss).any()


@pytest.mark.parametrize("method", READING_INPUTS)
def test_so_are_those_of_formats_that_store_inputs_too(method: str) -> None:
    model, inputs = conv_net()
    bank = mq.round_weights(model, [inputs], "w3,w3a2,w3a8", rounder="gptq")
    data = pairs(inputs, 10)
    table = mq.measure(model, data, formats="w3,w3a2,w3a8,a4", method=example(method), bank=bank)
    expected = mq.measure(
        model,
        data,
        formats=[*own_formats(bank, model), "a4"],
        method=example(method),
        activation_range=table.ranges or "mse",
    )
    np.testing.assert_array_equal(table.loss, expected.loss)
    plain, joint = bank.formats[:2]
    assert any(not bank.weight(name, plain).equal(bank.weight(name, joint)) for name in table.layer_names)


def test_ranges_are_those_for_which_the_bank_was_rounded() -> None:
    model, inputs = conv_net()
    bank = mq.round_weights(model, [inputs[::2] / 2], "w3a4", rounder="gptq", activation_range="minmax")
    assert bank.ranges is not None
    table = mq.measure(model, [inputs[1::2]], formats="w3a4", bank=bank)
    assert table.ranges == bank.ranges
    more = mq.measure(model, [inputs[1::2]], formats="w3a4,a8", bank=bank)
    others = mq.calibrate_ranges(model, [inputs[1::2]], "a8", rule="minmax")
    assert more.ranges is not None
    assert more.ranges.ranges == {**bank.ranges.ranges, **others.ranges}
    np.testing.assert_array_equal(more.loss[:, 0], table.loss[:, 0])
    given = mq.calibrate_ranges(model, [inputs], "w3a4")
    assert mq.measure(model, [inputs], formats="w3a4", bank=bank, activation_range=given).ranges == given
    with pytest.raises(InvalidInput, match="activation_range is 'percentile', but the bank's weights were rounded for"):
        mq.measure(model, [inputs], formats="w3a4", bank=bank, activation_range="percentile")


def test_a_format_with_activations_has_weights_of_its_own_in_a_bank() -> None:
    formats = as_formats("w4,w4a8,a8,w4a4,float")
    assert [entry.name for entry in Menu.of(formats).weights] == ["w4", "float"]
    menu = Menu.of(formats, banked=True)
    assert [entry.name for entry in menu.weights] == ["w4", "w4a8", "float", "w4a4"]
    assert menu.columns == ((0, None), (1, 0), (2, 0), (3, 1), (2, None))


def test_rounding_to_nearest_is_the_same_with_and_without_a_bank() -> None:
    model, inputs = conv_net()
    model, inputs = model.float(), inputs.float()
    plain = mq.measure(model, [inputs], formats="w2,w4a8,a8")
    for bank in ("nearest", Nearest(), mq.round_weights(model, [inputs], "w2,w4a8", rounder="nearest")):
        table = mq.measure(model, [inputs], formats="w2,w4a8,a8", bank=bank)
        np.testing.assert_allclose(table.loss, plain.loss, rtol=1e-6)
        assert table.rounder == plain.rounder == "nearest"
        assert table.samples == plain.samples


def test_a_rounder_sees_every_other_batch_and_the_table_those_between() -> None:
    model, inputs = perceptron()
    data = list(inputs.split(3))
    table = mq.measure(model, data, formats=FORMATS, bank="gptq")
    bank = mq.round_weights(model, data[::2], FORMATS, rounder="gptq")
    expected = mq.measure(model, data[1::2], formats=FORMATS, bank=bank)
    np.testing.assert_array_equal(table.loss, expected.loss)
    assert table.samples == 6
    assert table.rounder == bank.rounder
    few = mq.measure(model, iter(data), formats=FORMATS, bank="gptq", run=mq.RunOptions(max_batches=2))
    assert few.samples == 3


def test_of_a_single_batch_both_see_every_other_sample() -> None:
    model, inputs = perceptron()
    table = mq.measure(model, [inputs], formats=FORMATS, bank=Gptq())
    bank = mq.round_weights(model, [inputs[::2]], FORMATS, rounder="gptq")
    np.testing.assert_array_equal(table.loss, mq.measure(model, [inputs[1::2]], formats=FORMATS, bank=bank).loss)
    with pytest.raises(InvalidInput, match="gptq and the table need samples of their own, and there is one batch"):
        mq.measure(model, [inputs[:1]], formats=FORMATS, bank="gptq")


def test_a_table_that_reads_no_data_leaves_all_of_it_to_the_rounder() -> None:
    model, inputs = perceptron()
    table = mq.measure(model, [inputs], formats=FORMATS, method="weight_mse", bank="gptq")
    bank = mq.round_weights(model, [inputs], FORMATS, rounder="gptq")
    np.testing.assert_array_equal(
        table.loss, mq.measure(model, [inputs], formats=FORMATS, method="weight_mse", bank=bank).loss
    )
    assert table.rounder == bank.rounder


def test_formats_of_inputs_alone_need_no_rounder() -> None:
    model, inputs = conv_net()
    table = mq.measure(model, [inputs], formats="a8,a4", bank="gptq")
    assert table.samples == len(inputs)


def test_a_warning_says_where_the_rounder_has_seen_what_the_table_is_measured_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    model, inputs = perceptron()
    data = pairs(inputs)
    words = "the weights were rounded on the data that the table is measured on"
    with caplog.at_level(logging.WARNING):
        for seen in (data, data[:2], [batch for batch, _ in data]):
            caplog.clear()
            mq.measure(model, data, formats=FORMATS, bank=mq.round_weights(model, seen, FORMATS))
            assert caplog.text.count(words) == 1
        for seen, rounder in ((data[1:], "gptq"), (data, "nearest")):
            caplog.clear()
            mq.measure(model, data, formats=FORMATS, bank=mq.round_weights(model, seen, FORMATS, rounder=rounder))
            assert words not in caplog.text


def test_under_a_limit_the_numbers_are_the_same_and_codes_are_decoded_again() -> None:
    model, inputs = conv_net()
    bank = mq.round_weights(model, [inputs], FORMATS, rounder="gptq")
    free = mq.measure(model, [inputs[1:]], formats=FORMATS, bank=bank)
    least = mq.plan(model, inputs[1:], formats=FORMATS, bank=bank).least
    bound = mq.measure(model, [inputs[1:]], formats=FORMATS, bank=bank, run=mq.RunOptions(memory_limit=least))
    np.testing.assert_array_equal(bound.loss, free.loss)
    weights = layer_weights(model, bank.layers, bank.formats, held=0, bank=bank)
    assert all(each.errors.held is None for each in weights)
    assert bank.in_memory == sum(bank.encoded(row.name, entry).nbytes for row in bank.layers for entry in bank.formats)


def test_a_checkpoint_of_another_bank_is_refused(tmp_path: Path) -> None:
    model, inputs = perceptron()
    data, file = list(inputs.split(3)), mq.RunOptions(checkpoint=tmp_path / "run.json")
    first, other = (mq.round_weights(model, data[:1], FORMATS, rounder=Gptq(damping=each)) for each in (0.01, 0.1))
    mq.measure(model, data[1:3], formats=FORMATS, bank=first, run=file)
    whole = mq.measure(model, data[1:], formats=FORMATS, bank=first)
    np.testing.assert_array_equal(mq.measure(model, data[1:], formats=FORMATS, bank=first, run=file).loss, whole.loss)
    for wrong in (other, None):
        with pytest.raises(InvalidInput, match=r"bank was .* \(gptq\(damping=0.01"):
            mq.measure(model, data[1:], formats=FORMATS, bank=wrong, run=file)


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    model, inputs = perceptron()
    bank = mq.round_weights(model, [inputs], FORMATS, rounder="gptq")
    with pytest.raises(InvalidInput, match="the bank holds no weights in 'w3', but in w2, w4"):
        mq.measure(model, [inputs], formats="w2,w3", bank=bank)
    with pytest.raises(InvalidInput, match="unknown rounder 'gptk'"):
        mq.measure(model, [inputs], formats=FORMATS, bank="gptk")
    for given in (bank, "gptq"):
        with pytest.raises(InvalidInput, match=r"run has cache=.*, which keeps weights that are rounded to nearest"):
            mq.measure(model, [inputs], formats=FORMATS, bank=given, run=mq.RunOptions(cache=tmp_path))
    one = mq.round_weights(model, [inputs], FORMATS, rounder="gptq", layers=["head"])
    with pytest.raises(InvalidInput, match="unknown layer of the bank 'inner'"):
        mq.measure(model, [inputs], formats=FORMATS, bank=one)
    assert mq.measure(model, [inputs], formats=FORMATS, bank=one, layers=["head"]).layer_names == ("head",)
    changed = dataclasses.replace(bank, weights={**bank.weights, "inner": "0" * 40})
    with pytest.raises(InvalidInput, match="the weight of layer 'inner' is not the one that the bank was rounded from"):
        mq.measure(model, [inputs], formats=FORMATS, bank=changed)


def test_auto_takes_the_banks_formats_or_those_of_the_menu() -> None:
    model, inputs = conv_net()
    bank = mq.round_weights(model, [inputs], "w3,w2z", rounder="gptq")
    table = mq.measure(model, [inputs[1:]], formats="auto", bank=bank, method="sqnr")
    assert table.formats == bank.formats
    alone = mq.measure(model, [inputs], formats="auto", method="sqnr")
    assert alone.formats == menu(alone.layers)
    rounded = mq.round_weights(model, [inputs], "auto", rounder="nearest", target="onnxruntime")
    assert rounded.formats == menu(rounded.layers, "onnxruntime")
    with pytest.raises(InvalidInput, match="none of the formats stores weights"):
        mq.round_weights(model, [inputs], "a8")
