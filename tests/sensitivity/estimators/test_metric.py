from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

import mckp_quant as mq
from mckp_quant.sensitivity import Metric

from ..tiny import perceptron

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

FORMATS = "w2,w4"


def test_regression_is_measured_as_half_the_squared_distance() -> None:
    model, inputs = perceptron()
    kl = mq.measure(model, [inputs], formats=FORMATS, method="measured_kl", outputs=mq.Outputs(likelihood="gaussian"))
    own = mq.measure(model, [inputs], formats=FORMATS, method=Metric(half_squared))
    np.testing.assert_allclose(own.loss, kl.loss, rtol=1e-12)
    np.testing.assert_allclose(own.stderr, kl.stderr, rtol=1e-12)
    assert own.unit == "units of the metric"


def half_squared(before: Tensor, after: Tensor) -> Tensor:
    return (after - before).square().sum(dim=1) / 2


def test_the_metric_is_given_the_float_outputs_first() -> None:
    model, inputs = perceptron()
    table = mq.measure(model, [inputs], formats=FORMATS, method=Metric(lambda before, after: before[:, 0]))
    expected = float(model(inputs)[:, 0].detach().mean())
    np.testing.assert_allclose(table.loss, np.full(table.loss.shape, expected), rtol=1e-12)


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        (lambda before, after: before - after, r"returned the shape \(12, 3\) for the 12 samples of batch 0"),
        (lambda before, after: 0.5, "returned a float for the 12 samples"),
    ],
)
def test_a_metric_gives_one_number_per_sample(metric: Callable[[Tensor, Tensor], object], message: str) -> None:
    model, inputs = perceptron()
    with pytest.raises(mq.InvalidInput, match=message):
        mq.measure(model, [inputs], formats=FORMATS, method=Metric(metric))


def test_a_distance_that_is_no_function_is_refused() -> None:
    with pytest.raises(mq.InvalidInput, match="distance is 'kl': give a function from the outputs of the float"):
        Metric("kl")  # type: ignore[arg-type]
