from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import mckp_quant as mq
from benchmarks.sensitivity import studies


@pytest.mark.parametrize("family", ["w2,w3,w4", "w3,w4,w8"])
def test_policies_have_equal_size_and_differ(family: str) -> None:
    model = nn.Sequential(*[nn.Linear(8, 8) for _ in range(10)])
    table = mq.measure(model, [torch.zeros(1, 8)], formats=studies.FORMATS, method="weight_mse")
    bits = np.array([entry.weight_bits for entry in table.formats])
    policies = studies.equal_size_policies(table, family, 0, 12)
    assert len({tuple(picks) for picks in policies}) > 6
    for picks in policies:
        assert abs(bits[picks].mean() / studies.FAMILIES[family] - 1) <= 0.01
        assert {table.format_names[pick] for pick in picks} <= set(family.split(","))
