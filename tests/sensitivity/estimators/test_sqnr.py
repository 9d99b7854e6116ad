from __future__ import annotations

import numpy as np
import torch

import mckp_quant as mq
from mckp_quant.network.discovery import weight_of
from mckp_quant.rounding.weights import quantize

from ..tiny import conv_net

FORMATS = "w1,w2,w4"


def test_errors_are_those_of_the_quantised_weights() -> None:
    model, inputs = conv_net()
    table = mq.measure(model, [inputs], formats=FORMATS, method="sqnr")
    assert table.unit == "noise-to-signal ratio"
    for row, layer in enumerate(table.layers):
        weight = weight_of(model.get_submodule(layer.name)).detach()
        for column, entry in enumerate(table.formats):
            noise = float((quantize(weight, entry, layer) - weight).square().sum())
            expected = noise / float(weight.square().sum())
            np.testing.assert_allclose(table.loss[row, column], expected, rtol=1e-12)


def test_a_weight_of_zeros_has_no_noise() -> None:
    model, inputs = conv_net()
    torch.nn.init.zeros_(weight_of(model.get_submodule("first")))
    table = mq.measure(model, [inputs], formats=FORMATS, method="sqnr")
    assert not table.loss[table.row("first")].any()


def test_the_ratio_does_not_depend_on_the_scale_of_a_weight() -> None:
    model, inputs = conv_net()
    before = mq.measure(model, [inputs], formats=FORMATS, method="sqnr").loss
    weight_of(model.get_submodule("grouped")).data.mul_(1000)
    np.testing.assert_allclose(mq.measure(model, [inputs], formats=FORMATS, method="sqnr").loss, before, rtol=1e-9)
