"""The causes of a wrong prediction that can be named without another run."""

from __future__ import annotations

import dataclasses

import torch
from torch import nn

import mckp_quant as mq

GENERATOR = torch.Generator().manual_seed(0)
BATCHES = [torch.randn(30, 6, generator=GENERATOR) for _ in range(6)]


def network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 5))


MODEL = network()
TABLE = mq.measure(MODEL, BATCHES, formats="w2,w4")


def test_layer_that_reads_zero_is_named() -> None:
    loss = TABLE.loss.copy()
    loss[0] = 0
    silent = dataclasses.replace(TABLE, loss=loss, contributions=None, batch_sizes=None)
    got = mq.validate(MODEL, mq.Policy.uniform(silent, "w2"), BATCHES, table=silent)
    assert got.holds is False
    assert "the table says that layer '0' loses nothing, which no rounding does" in got.verdict
    assert "loses nothing" not in mq.validate(MODEL, mq.Policy.uniform(TABLE, "w2"), BATCHES, table=TABLE).verdict


def test_other_rounder_is_named() -> None:
    policy = mq.Policy.uniform(dataclasses.replace(TABLE, rounder="gptq", loss=TABLE.loss / 50), "w2")
    got = mq.validate(MODEL, policy, BATCHES, other_rounder=True)
    assert got.holds is False
    assert "about weights rounded by gptq, and those measured were rounded by nearest" in got.verdict


def test_saturation_is_named() -> None:
    far = dataclasses.replace(TABLE, loss=TABLE.loss * 0 + 40.0, contributions=None, batch_sizes=None)
    got = mq.validate(MODEL, mq.Policy.uniform(far, "w4"), BATCHES)
    assert got.holds is False
    assert "a loss of 80 is near the " in got.verdict
    assert "where losses no longer add up" in got.verdict
    gaussian = mq.validate(MODEL, mq.Policy.uniform(far, "w4"), BATCHES, outputs=mq.Outputs(likelihood="gaussian"))
    assert "no longer add up" not in gaussian.verdict
