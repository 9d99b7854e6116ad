from __future__ import annotations

import numpy as np
import pytest
import torch

import mckp_quant as mq
from mckp_quant.sensitivity import Hutchinson, HutchinsonBlockwise

from ..dense import hessian_matrix
from .with_targets import FORMATS, NETWORKS, Network, layers_of, targets_for

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")


@pytest.mark.parametrize("network", NETWORKS)
def test_blockwise_traces_lie_within_three_standard_errors_of_the_dense_trace(network: Network) -> None:
    model, inputs = network()
    targets = targets_for(inputs)
    rows = []
    for weight in layers_of(model, inputs):
        average = hessian_matrix(model, weight.layer.name, inputs, targets).trace() / weight.layer.elements
        rows.append(average * weight.perturbations.flatten(1).square().sum(dim=1) / 2)
    exact = torch.stack(rows).detach().numpy()
    table = mq.measure(model, [(inputs, targets)], formats=FORMATS, method=HutchinsonBlockwise(64))
    joint = mq.measure(model, [(inputs, targets)], formats=FORMATS, method=Hutchinson(64))
    assert np.abs((table.loss - exact) / table.stderr).max() < 3.5
    assert np.median(table.stderr / joint.stderr) < 1
