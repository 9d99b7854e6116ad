"""What is said of networks that are no better than a guess, and of predictions that are another table's."""

from __future__ import annotations

import copy
import dataclasses
import math

import pytest
import torch
from torch import nn

import mckp_quant as mq
from mckp_quant import demo
from mckp_quant.evaluation.evaluator import Evaluator
from mckp_quant.evaluation.verdict import judge

BATCHES = demo.held_out()
MODEL = demo.model()
TABLE = mq.measure(MODEL, demo.calibration(), formats="w2,w4,w8")
KIND = mq.Policy.uniform(TABLE, "w4")


def ruined(noise: float) -> nn.Module:
    """The network with noise of so many standard deviations on its last layer: its answers are chance."""
    made = copy.deepcopy(MODEL)
    generator = torch.Generator().manual_seed(0)
    weights = [each for each in made.parameters() if each.ndim > 1]
    with torch.no_grad():
        for weight in weights:
            weight.copy_(noise * weight.std() * torch.randn(weight.shape, generator=generator))
    return made


@pytest.mark.parametrize("noise", [0.3, 1.0, 3.0])
def test_prediction_never_holds_of_a_dead_network(noise: float) -> None:
    evaluator = Evaluator(MODEL, BATCHES)
    measured = evaluator.evaluate_model(ruined(noise))
    foreseen = dataclasses.replace(KIND, predicted=measured.kl)
    verdict, holds, useless = judge(foreseen, measured, evaluator, 2.0)
    assert holds is False
    assert useless
    assert verdict.startswith("the network under this policy is useless, its ")
    assert "allow the layers more bits; the prediction said so, predicted" in verdict
    assert "holds" not in verdict


def test_dead_network_is_told_without_targets_by_its_agreement() -> None:
    evaluator = Evaluator(MODEL, [inputs for inputs, _ in BATCHES])
    measured = dataclasses.replace(evaluator.evaluate_model(ruined(0.3)), kl=0.5)
    verdict, _, useless = judge(KIND, measured, evaluator, 2.0)
    assert useless
    assert "its answers agree with the float network's in " in verdict
    assert "guesses among 10 classes in 10.00%" in verdict


def test_accuracy_at_chance_is_told_where_the_kl_is_small() -> None:
    evaluator = Evaluator(MODEL, BATCHES)
    measured = dataclasses.replace(evaluator.evaluate_model(ruined(0.3)), kl=0.5, accuracy=0.12, accuracy_stderr=0.015)
    assert (
        "its accuracy of 12.00% beside 10.00% for guessing among 10 classes" in judge(KIND, measured, evaluator, 2)[0]
    )


def test_guess_is_the_divergence_of_equal_probabilities() -> None:
    evaluator = Evaluator(MODEL, BATCHES)
    with torch.no_grad():
        p = torch.cat([MODEL(inputs) for inputs, _ in BATCHES]).double().softmax(-1)
    assert evaluator.guessing == pytest.approx(math.log(10) + float((p * p.log()).sum(-1).mean()))
    assert evaluator.guessing < math.log(evaluator.classes) == math.log(10)


@pytest.mark.parametrize("name", ["w4", "w8"])
def test_networks_that_work_are_not_called_useless(name: str) -> None:
    got = mq.validate(MODEL, mq.Policy.uniform(TABLE, name), BATCHES, table=TABLE)
    assert not got.useless
    assert got.holds is not False
    assert got.document()["useless"] is False


def test_useless_is_not_said_of_regressions_nor_of_a_float_network_that_knows_nothing() -> None:
    regression = mq.Outputs(likelihood="gaussian")
    evaluator = Evaluator(MODEL, [inputs for inputs, _ in BATCHES], outputs=regression)
    assert not judge(KIND, evaluator.evaluate_model(ruined(1.0)), evaluator, 2.0)[2]
    generator = torch.Generator().manual_seed(0)
    wrong = [(inputs, torch.randint(10, (len(inputs),), generator=generator)) for inputs, _ in BATCHES]
    got = mq.validate(MODEL, KIND, wrong)
    assert got.policy.measured.accuracy < 0.2
    assert not got.useless


def test_useless_network_without_a_prediction_is_said_to_be_so() -> None:
    evaluator = Evaluator(MODEL, BATCHES)
    verdict, holds, useless = judge(
        mq.Policy(("0",), (mq.Format.named("w2"),)), evaluator.evaluate_model(ruined(1.0)), evaluator, 2
    )
    assert (holds, useless) == (None, True)
    assert verdict.startswith("no verdict: the policy comes without a prediction")
    assert "; the network under this policy is useless" in verdict


def test_the_table_given_predicts_where_the_policy_is_of_another_and_the_verdict_says_so() -> None:
    other = dataclasses.replace(TABLE, loss=TABLE.loss / 100, contributions=None, batch_sizes=None)
    stale = mq.Policy.uniform(other, "w4")
    assert mq.validate(MODEL, stale, BATCHES).holds is False
    got = mq.validate(MODEL, stale, BATCHES, table=TABLE)
    assert got.policy.predicted == KIND.predicted
    assert got.holds is not False
    assert got.verdict.endswith("it is the prediction of the table given, not of the one that the policy was made from")
    assert "table given" not in mq.validate(MODEL, KIND, BATCHES, table=TABLE).verdict
    some = mq.Policy(TABLE.layer_names[:2], (mq.Format.named("w2"), mq.Format.named("float")))
    assert mq.validate(MODEL, some, BATCHES, table=TABLE).policy.predicted == TABLE.loss[0, 0]


def test_verdict_stands_once_in_the_document() -> None:
    got = mq.validate(MODEL, mq.Policy.uniform(TABLE, "w2"), BATCHES, table=TABLE)
    assert str(got.document()).count(got.verdict[:60]) == 1
