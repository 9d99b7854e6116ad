from __future__ import annotations

import dataclasses
import json
import math

import pytest
import torch
from torch import nn

import mckp_quant as mq
from mckp_quant.evaluation.evaluator import Evaluator, evaluate
from mckp_quant.evaluation.verdict import judge

GENERATOR = torch.Generator().manual_seed(0)
BATCHES = [(torch.randn(20, 6, generator=GENERATOR), torch.randint(5, (20,), generator=GENERATOR)) for _ in range(4)]
FORMATS = (mq.Format.named("w3"), mq.Format.named("w4"))


def network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 5))


def policy(predicted: float, *, stderr: float = math.nan, unit: str = "nats per sample") -> mq.Policy:
    return mq.Policy(("0", "2"), FORMATS, predicted=predicted, predicted_stderr=stderr, unit=unit)


def measured() -> tuple[float, float]:
    model = network()
    got = evaluate(mq.apply(model, policy(0.0)), model, BATCHES)
    return got.kl, got.kl_stderr


def test_rows_are_the_float_network_the_others_and_the_policy_with_their_own_figures() -> None:
    model = network()
    others = [mq.Policy(("0", "2"), (mq.Format.named(name),) * 2) for name in ("w2", "w8")]
    others.append(mq.Policy(("0", "2"), FORMATS[::-1]))
    got = mq.validate(model, policy(0.1), BATCHES, against=others)
    assert [row.name for row in got.rows] == ["float", "uniform w2", "uniform w8", "policy 3 of those given", "policy"]
    assert got.policy is got.rows[-1]
    for row in got.rows[1:]:
        assert row.policy is not None
        wanted = evaluate(mq.apply(model, row.policy), model, BATCHES)
        for name in ("kl", "kl_stderr", "loss", "accuracy", "agreement"):
            assert getattr(row.measured, name) == getattr(wanted, name)
    bits = {"float": 32 * 176, "uniform w2": 2 * 176 + 32 * 21, "uniform w8": 8 * 176 + 32 * 21}
    assert {row.name: 8 * row.weight_bytes for row in got.rows[:3]} == bits
    assert got.policy.weight_bytes == (3 * 96 + 32 * 16 + 4 * 80 + 32 * 5) // 8
    assert got.rows[0].measured.kl == 0


def test_others_can_be_given_names() -> None:
    got = mq.validate(network(), policy(0.1), BATCHES, against={"mine": policy(0.2)})
    assert [row.name for row in got.rows] == ["float", "mine", "policy"]
    assert got.rows[1].predicted == 0.2


def test_differences_are_to_the_policy_and_paired() -> None:
    got = mq.validate(network(), policy(0.1), BATCHES, against=[mq.Policy(("0", "2"), (mq.Format.named("w2"),) * 2)])
    other, own = got.rows[1:]
    assert other.kl_difference == pytest.approx(other.measured.kl - own.measured.kl)
    assert (other.kl_difference, other.kl_difference_stderr) == other.measured.kl_difference(own.measured)
    assert math.isnan(own.kl_difference)
    assert math.isnan(own.kl_difference_stderr)


@pytest.mark.parametrize("errors", [-1.9, 0.0, 1.9])
def test_prediction_within_two_standard_errors_holds(errors: float) -> None:
    kl, stderr = measured()
    got = mq.validate(network(), policy(kl + errors * stderr), BATCHES, factor=1)
    assert got.holds
    assert "holds within its error" in got.verdict
    assert got.ratio == pytest.approx((kl + errors * stderr) / kl)


def test_error_of_the_prediction_itself_counts_too() -> None:
    kl, stderr = measured()
    assert mq.validate(network(), policy(kl + 2.1 * stderr), BATCHES, factor=1).holds is False
    assert mq.validate(network(), policy(kl + 2.1 * stderr, stderr=0.5 * stderr), BATCHES, factor=1).holds is True


@pytest.mark.parametrize("times", [0.3, 1.0, 3.0])
def test_agreement_that_is_not_known_well_enough_is_no_verdict(times: float) -> None:
    kl, _ = measured()
    got = mq.validate(network(), policy(times * kl, stderr=5 * kl), BATCHES)
    assert got.holds is None
    assert got.verdict.startswith(f"no verdict: measured / predicted is {1 / times:.2g} +- ")
    assert "holds (" in got.verdict


def test_holds_is_never_said_of_a_ratio_that_is_off_by_more_than_its_error() -> None:
    """Whatever the figures: where it holds, 0.67 .. 1.5 and one error around the ratio meet, and 1 is within two."""
    kl, stderr = measured()
    evaluator = Evaluator(network(), BATCHES)
    own = evaluator.evaluate(policy(0.0))
    seen = set()
    for times in (0.3, 0.5, 0.6, 0.7, 0.9, 1.0, 1.1, 1.4, 1.6, 2.0, 5.0):
        for error in (0.0, 0.05, 0.2, 0.5, 2.0):
            made = policy(kl / times, stderr=error * kl / times)
            _, holds, _ = judge(made, own, evaluator, 1.5)
            spread = math.hypot(stderr, times * error * kl / times) / (kl / times)
            seen.add(holds)
            if holds:
                assert 1 / 1.5 - spread <= times <= 1.5 + spread
                assert spread < 0.5 or abs(times - 1) > 2 * spread
            if holds is False:
                assert abs(times - 1) > 2 * math.hypot(stderr, error * kl / times) / (kl / times)
    assert seen == {True, False, None}


def test_bias_within_the_factor_is_told_from_noise() -> None:
    kl, _ = measured()
    got = mq.validate(network(), policy(kl / 1.4), BATCHES)
    assert got.holds is True
    assert "holds within a factor of 1.5: off by 1.4x, too low by more than its error" in got.verdict


def test_what_people_are_shown_is_the_corrected_prediction() -> None:
    kl, _ = measured()
    made = dataclasses.replace(policy(kl / 9), corrected=kl, corrected_stderr=0.01 * kl, correction="by hand")
    got = mq.validate(network(), made, BATCHES)
    assert got.holds is True
    assert (got.policy.predicted, got.policy.predicted_stderr) == (kl, 0.01 * kl)
    assert got.document()["rows"][-1]["predicted_by_table"] == kl / 9


@pytest.mark.parametrize(("times", "why"), [(5.0, "measured on few samples"), (0.2, "too coarse for a quadratic form")])
def test_prediction_beyond_the_factor_fails_with_the_factor_and_a_reason(times: float, why: str) -> None:
    kl, _ = measured()
    got = mq.validate(network(), policy(times * kl), BATCHES, factor=4.9)
    assert got.holds is False
    assert got.verdict.startswith("the prediction fails, off by 5x: predicted ")
    assert why in got.verdict
    assert got.ratio == pytest.approx(times)
    within = mq.validate(network(), policy(times * kl), BATCHES, factor=5.1)
    assert within.holds
    assert "holds within a factor of 5.1: off by 5x" in within.verdict


def test_prediction_that_is_not_positive_fails_without_a_factor() -> None:
    kl, _ = measured()
    got = mq.validate(network(), policy(-10 * kl), BATCHES)
    assert got.holds is False
    assert "there is no factor, because one is not positive" in got.verdict


@pytest.mark.parametrize("unit", ["nats per token", "squared error", "top-1 points"])
def test_prediction_in_another_unit_is_never_set_beside_a_measured_kl(unit: str) -> None:
    got = mq.validate(network(), policy(0.1, stderr=0.01, unit=unit), BATCHES, against=[policy(0.1, unit=unit)])
    assert got.holds is None
    assert f"the prediction is in {unit!r}, the measured KL in 'nats per sample'" in got.verdict
    assert math.isnan(got.ratio)
    assert all(math.isnan(row.predicted) and math.isnan(row.predicted_stderr) for row in got.rows)


def test_policy_without_a_prediction_gets_no_verdict() -> None:
    got = mq.validate(network(), policy(math.nan), BATCHES)
    assert got.holds is None
    assert "without a prediction" in got.verdict
    assert math.isnan(got.ratio)


def test_ratio_is_defined_where_nothing_changed() -> None:
    same = mq.Format("same", 32, quantize=lambda weight: weight, stored_bits=lambda layer: 32 * layer.elements)
    made = mq.Policy(("0",), (same,), predicted=0.0)
    assert mq.validate(network(), made, BATCHES).ratio == 1
    assert mq.validate(network(), dataclasses.replace(made, predicted=0.5), BATCHES).ratio == math.inf


def test_document_is_json_that_holds_every_figure() -> None:
    got = mq.validate(network(), policy(0.1), [inputs for inputs, _ in BATCHES], against=[policy(0.2)])
    document = json.loads(json.dumps(got.document(), allow_nan=False))
    assert (document["verdict"], document["holds"], document["samples"]) == (got.verdict, got.holds, 80)
    for row, entry in zip(got.rows, document["rows"], strict=True):
        assert (entry["name"], entry["weight_bytes"], entry["kl"]) == (row.name, row.weight_bytes, row.measured.kl)
        assert entry["loss"] is None
    assert document["rows"][0]["predicted"] is None
    assert document["rows"][1]["predicted"] == 0.2


@pytest.mark.parametrize("factor", [0.5, -1.0, math.nan])
def test_factor_below_one_is_refused(factor: float) -> None:
    with pytest.raises(mq.InvalidInput, match=r"factor is .*: it must be a number, at least 1"):
        mq.validate(network(), policy(0.1), BATCHES, factor=factor)


def test_dense_outputs_are_validated_and_refined_on_what_measured_them() -> None:
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.Tanh(), nn.Conv2d(6, 4, 1))
    batches = [
        (torch.randn(5, 3, 4, 4, generator=generator), torch.randint(0, 4, (5, 4, 4), generator=generator))
        for _ in range(4)
    ]
    table = mq.measure(model, batches, formats="w2,w4,w8", outputs=mq.Outputs(class_dim=1))
    dense = mq.Outputs(class_dim=1)
    found = mq.refine(model, table, {"weight_bytes": "60%"}, batches, evaluations=12, outputs=dense)
    got = mq.validate(model, found.policy, batches, outputs=dense)
    flat = [(inputs, targets.flatten(1)) for inputs, targets in batches]
    moved = mq.Outputs(take=lambda made: made.movedim(1, -1).flatten(1, 2))
    same = mq.validate(model, found.policy, flat, outputs=moved)
    assert got.document() == same.document()
    assert got.unit == table.unit == "nats per token"
    assert 0 < got.policy.measured.accuracy < 1


def test_what_is_no_policy_or_was_measured_as_something_else_is_refused() -> None:
    with pytest.raises(mq.InvalidInput, match=r"policy is a str: give a Policy, such as the \.policy"):
        mq.validate(network(), "policy.json", BATCHES)  # type: ignore[arg-type]
    table = mq.measure(network(), BATCHES, formats="w2,w4", outputs=mq.Outputs(likelihood="categorical"))
    with pytest.raises(mq.InvalidInput, match="measured with likelihood='categorical', not 'gaussian'"):
        mq.validate(network(), policy(0.1), BATCHES, table=table, outputs=mq.Outputs(likelihood="gaussian"))


def test_layers_of_another_network_are_refused() -> None:
    with pytest.raises(mq.InvalidInput, match="unknown layer '7'"):
        mq.validate(network(), mq.Policy(("7",), (FORMATS[0],)), BATCHES)
