"""Probabilities are noticed where they are taken for logits, and nothing else is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import mckp_quant as mq
from mckp_quant.network.likelihoods.probabilities import are_probabilities

from ..search import small

if TYPE_CHECKING:
    from collections.abc import Callable

GENERATOR = torch.Generator().manual_seed(0)
BATCHES = [torch.randn(10, 6, generator=GENERATOR) for _ in range(4)]


def network(*last: nn.Module) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 5), *last)


PLAIN, SOFTMAX = network(), network(nn.Softmax(-1))
TABLE = mq.measure(PLAIN, BATCHES, formats="w2,w4")
POLICY = mq.allocate(TABLE, {"weight_bytes": "85%"}).policy
WAYS: dict[str, Callable[[nn.Module, mq.Outputs], object]] = {
    "measure": lambda model, outputs: mq.measure(model, BATCHES, formats="w2,w4", outputs=outputs),
    "measured_kl": lambda model, outputs: mq.measure(
        model, BATCHES, formats="w2,w4", method="measured_kl", outputs=outputs
    ),
    "interactions": lambda model, outputs: mq.measure_interactions(model, BATCHES, formats="w2,w4", outputs=outputs),
    "validate": lambda model, outputs: mq.validate(model, POLICY, BATCHES, outputs=outputs),
    "evaluate": lambda model, outputs: mq.evaluate(mq.apply(model, POLICY), model, BATCHES, outputs=outputs),
    "refine": lambda model, outputs: mq.refine(
        model, TABLE, {"weight_bytes": "85%"}, BATCHES, evaluations=12, outputs=outputs
    ),
    "search": lambda model, outputs: mq.search.search(
        model, TABLE, {"weight_bytes": "85%"}, BATCHES, evaluations=4, outputs=outputs
    ),
    "finetune": lambda model, outputs: mq.tuning.finetune(model, POLICY, BATCHES, steps=1, outputs=outputs),
    "match_features": lambda model, outputs: mq.tuning.match_features(
        mq.apply(model, POLICY), model, BATCHES, outputs=outputs
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_they_are_refused_wherever_a_network_is_run_and_their_logarithm_is_not(way: str) -> None:
    with pytest.raises(mq.InvalidInput, match=r"are probabilities, not logits: .* outputs=Outputs\(take=lambda p: p"):
        WAYS[way](SOFTMAX, mq.Outputs())
    WAYS[way](SOFTMAX, mq.Outputs(take=lambda p: p.log()))


def test_their_logarithm_gives_the_table_of_the_logits() -> None:
    got = mq.measure(SOFTMAX, BATCHES, formats="w2,w4", outputs=mq.Outputs(take=lambda p: p.log()))
    np.testing.assert_allclose(got.loss, TABLE.loss, rtol=1e-5)


def test_a_regression_may_put_out_what_it_likes() -> None:
    outputs = mq.Outputs(likelihood="gaussian")
    assert mq.measure(SOFTMAX, BATCHES, formats="w2,w4", outputs=outputs).likelihood == "gaussian"


def test_maps_of_probabilities_are_noticed_too() -> None:
    model = nn.Sequential(small.dense_network(), nn.Softmax(dim=1))
    batches, outputs = small.dense_outputs()[0], small.DENSE
    with pytest.raises(mq.InvalidInput, match="are probabilities, not logits"):
        mq.measure(model, batches, formats="w2,w4", outputs=outputs)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("shape", [(3, 2), (64, 10), (4, 7, 50_000)])
def test_a_softmax_of_any_precision_is_recognised(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    logits = 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(1))
    assert are_probabilities(logits.to(dtype).softmax(dim=-1))
    assert not are_probabilities(logits.to(dtype).log_softmax(dim=-1))


@pytest.mark.parametrize(
    "logits",
    [
        torch.ones(4, 1),  # one class
        torch.zeros(4, 5),  # a network that answers nothing
        torch.rand(64, 10, generator=torch.Generator().manual_seed(2)),
        torch.randn(64, 10, generator=torch.Generator().manual_seed(2)).sigmoid(),  # several labels
        torch.cat([torch.full((3, 4), 0.25), torch.full((1, 4), 0.5)]),  # all rows but one
        torch.full((4, 5), torch.nan),
        torch.ones(4, 5, dtype=torch.int64),
        torch.ones(()),
        torch.ones(0, 5),
        torch.ones(4, 5, device="meta"),  # no values, as in a plan
    ],
)
def test_what_is_no_softmax_passes(logits: Tensor) -> None:
    assert not are_probabilities(logits)
