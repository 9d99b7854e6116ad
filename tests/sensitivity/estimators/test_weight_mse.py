from __future__ import annotations

import numpy as np

import mckp_quant as mq
from mckp_quant.network.discovery import weight_of
from mckp_quant.rounding.weights import quantize

from ..tiny import conv_net

FORMATS = "w1,w2,w4"


def test_errors_are_those_of_the_quantised_weights() -> None:
    model, inputs = conv_net()
    table = mq.measure(model, [inputs], formats=FORMATS, method="weight_mse")
    assert table.unit == "squared weight error"
    for row, layer in enumerate(table.layers):
        weight = weight_of(model.get_submodule(layer.name)).detach()
        for column, entry in enumerate(table.formats):
            noise = float((quantize(weight, entry, layer) - weight).square().sum())
            expected = noise
            np.testing.assert_allclose(table.loss[row, column], expected, rtol=1e-12)
