"""Standard errors mean what they say: over fresh samples and probes, estimates spread by as much as they state."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from mckp_quant.sensitivity import EmpiricalFisher, FirstOrder, GaussNewton, Hutchinson, MeasuredKL

from ..replicates import measured, weights_of
from ..tiny import CLASSES, perceptron, transformer

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from mckp_quant.sensitivity import Estimator

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")

FORMATS = "w1,w3"


def population(network: Callable[[], tuple[nn.Module, Tensor]]) -> tuple[nn.Module, Tensor, Tensor]:
    model, inputs = network()
    shape = inputs.shape if inputs.dtype == torch.int64 else inputs.shape[:1]
    return model, inputs, torch.randint(0, CLASSES, shape, generator=torch.Generator().manual_seed(9))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "estimator", "batches", "size", "replicates"),
    [
        (perceptron, GaussNewton(), 1, 200, 200),
        (perceptron, EmpiricalFisher(), 1, 200, 200),
        (perceptron, FirstOrder(), 1, 200, 200),
        (perceptron, MeasuredKL(), 1, 200, 200),
        (perceptron, Hutchinson(), 8, 12, 200),
        (transformer, GaussNewton(), 6, 12, 160),
    ],
)
def test_stated_errors_are_the_spread_of_repeated_measurements(
    network: Callable[[], tuple[nn.Module, Tensor]], estimator: Estimator, batches: int, size: int, replicates: int
) -> None:
    model, inputs, targets = population(network)
    weights = weights_of(model, inputs, FORMATS)

    def drawn(seed: int) -> list[tuple[Tensor, Tensor]]:
        picks = torch.randint(0, len(inputs), (batches, size), generator=torch.Generator().manual_seed(1000 + seed))
        return [(inputs[pick], targets[pick]) for pick in picks]

    found, stderr = measured(model, weights, drawn, estimator, replicates)
    ratio = found.std(axis=0, ddof=1) / np.sqrt(np.mean(np.square(stderr), axis=0))
    assert (np.abs(ratio - 1) < 0.15).all(), ratio
