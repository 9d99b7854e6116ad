"""What a network returns: dense outputs give the same figures as the network with its outputs moved by hand."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

import mckp_quant as mq
from mckp_quant.evaluation import Evaluator
from mckp_quant.search import METHODS, run_method
from mckp_quant.tuning import finetune, match_features

from ..search import small

if TYPE_CHECKING:
    from torch import Tensor

BUDGET = {"weight_bytes": "60%"}
MAPS, ROWS = small.dense_outputs()
BOTH = ((MAPS, small.DENSE), (ROWS, small.MOVED))


def policy() -> mq.Policy:
    return mq.allocate(small.dense_table(), BUDGET).policy


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"take": "logits"}, "take is 'logits': give a function from what the model returns to its logits"),
        ({"likelihood": "poisson"}, "unknown likelihood 'poisson'"),
        ({"class_dim": 1.0}, "class_dim is 1.0: give the dimension of the classes, such as 1"),
        ({"class_dim": True}, "class_dim is True: give the dimension of the classes"),
    ],
)
def test_what_cannot_be_used_is_refused(fields: dict[str, object], words: str) -> None:
    with pytest.raises(mq.InvalidInput, match=words):
        mq.Outputs(**fields)  # type: ignore[arg-type]


def test_evaluations_are_the_same() -> None:
    model, quantised = small.dense_network(), mq.apply(small.dense_network(), policy())
    found = [mq.evaluate(quantised, model, batches, outputs=outputs) for batches, outputs in BOTH]
    found += [Evaluator(model, batches, outputs=outputs).evaluate(policy()) for batches, outputs in BOTH]
    assert found[0].unit == "nats per token"
    assert 0 < found[0].accuracy < 1
    for each in found[1:]:
        np.testing.assert_array_equal(each.totals, found[0].totals)
        np.testing.assert_array_equal(each.counts, found[0].counts)


def test_one_target_a_sample_is_refused_for_a_class_a_position() -> None:
    batches = [(inputs, targets[:, 0]) for inputs, targets in ROWS]
    with pytest.raises(mq.InvalidInput, match=r"targets of shape \(6,\): for logits of shape \(6, 25, 3\)"):
        mq.evaluate(small.dense_network(), small.dense_network(), batches, outputs=small.DENSE)


def test_interactions_are_the_same() -> None:
    model = small.dense_network()
    first, second = (
        mq.measure_interactions(model, batches, formats="w2,w4", outputs=outputs) for batches, outputs in BOTH
    )
    np.testing.assert_array_equal(first.parts, second.parts)
    assert first.unit == "nats per token"


def test_matched_features_are_the_same() -> None:
    model, quantised = small.dense_network(), mq.apply(small.dense_network(), policy())
    first, second = (match_features(quantised, model, batches, outputs=outputs) for batches, outputs in BOTH)
    assert (first.before, first.after, first.strength) == (second.before, second.after, second.strength)
    assert first.after < first.before
    assert small.same(small.state(first.model), small.state(second.model))


@pytest.mark.parametrize("distil", [True, False])
def test_fine_tuning_is_the_same(distil: bool) -> None:
    model = small.dense_network()
    first, second = (
        finetune(model, policy(), batches, steps=5, rate=1e-3, distil=distil, outputs=outputs)
        for batches, outputs in BOTH
    )
    assert first.loss == second.loss
    assert small.same(small.state(first.model), small.state(second.model))


def test_refinement_is_the_same() -> None:
    model, table = small.dense_network(), small.dense_table()
    first, second = (
        mq.refine(model, table, mq.Request(BUDGET), batches, evaluations=20, outputs=outputs)
        for batches, outputs in BOTH
    )
    assert first.document() == second.document()
    assert first.steps


def test_validation_is_the_same() -> None:
    model, table = small.dense_network(), small.dense_table()
    first, second = (
        mq.validate(model, policy(), batches, outputs=outputs, table=table, by_layer=True) for batches, outputs in BOTH
    )
    assert first.document() == second.document()


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_every_method_chooses_the_same(name: str) -> None:
    model, table = small.dense_network(), small.dense_table()
    first, second = (
        run_method(name, model, table, BUDGET, batches, evaluations=10, outputs=outputs) for batches, outputs in BOTH
    )
    assert first.policy == second.policy
    assert (first.evaluations, first.status, first.history) == (second.evaluations, second.status, second.history)


def test_logits_are_taken_from_what_the_model_returns() -> None:
    class Pair(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = small.network()

        def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
            return inputs, self.inner(inputs)

    table = small.table()
    layers = tuple(dataclasses.replace(layer, name=f"inner.{layer.name}") for layer in table.layers)
    renamed = dataclasses.replace(table, layers=layers)
    second = mq.Outputs(take=lambda returned: returned[1])
    wanted = mq.refine(small.network(), table, BUDGET, small.data(), evaluations=12)
    found = mq.refine(Pair(), renamed, BUDGET, small.data(), evaluations=12, outputs=second)
    assert found.kl == wanted.kl
    assert found.policy.formats == wanted.policy.formats
