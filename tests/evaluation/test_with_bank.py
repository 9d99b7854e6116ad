"""Evaluator, validate and the layers by themselves, with the weights of a bank."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
import torch

import mckp_quant as mq
from mckp_quant.evaluation.carriers import find_carriers
from mckp_quant.evaluation.evaluator import Evaluator
from mckp_quant.evaluation.simulation import Simulator
from mckp_quant.evaluation.uniform import best_measured, uniforms_of_size

from ..search import small
from . import banks

NAMES = ("w2", "w4", "w8", "w3")
MODEL = small.network()
DATA = small.data(seed=2)
OTHER = "is about weights rounded by truncation, but these are rounded by nearest: give the bank"


def on(table: mq.SensitivityTable, *names: str) -> mq.Policy:
    return mq.Policy.on_table(table, [table.formats[table.column(name)] for name in names or NAMES])


def figures(found: mq.Validation) -> list[object]:
    """Of the float network and the policy; the uniform rivals of a bank are chosen otherwise."""
    rows = found.document()["rows"]
    return [rows[0], rows[-1], found.verdict, found.carriers]


def test_a_table_of_a_bank_is_that_of_formats_that_round_so() -> None:
    assert np.array_equal(banks.table().loss, banks.own_table().loss)
    assert not np.allclose(banks.table().loss, small.table().loss, rtol=0.1)


@pytest.mark.parametrize(
    ("with_bank", "without", "rounder"),
    [(banks.table("nearest"), small.table(), "nearest"), (banks.table(), banks.own_table(), "truncation")],
    ids=["nearest", "toy"],
)
def test_the_bank_gives_what_its_rounder_gives(
    with_bank: mq.SensitivityTable, without: mq.SensitivityTable, rounder: str
) -> None:
    bank = banks.bank(rounder)
    first = mq.validate(MODEL, on(with_bank), DATA, table=with_bank, by_layer=True, bank=bank)
    second = mq.validate(MODEL, on(without), DATA, table=without, by_layer=True)
    assert figures(first) == figures(second)
    evaluation = Evaluator(MODEL, DATA, bank=bank).evaluate(on(with_bank))
    assert np.array_equal(evaluation.totals, Evaluator(MODEL, DATA).evaluate(on(without)).totals, equal_nan=True)


def test_what_is_about_another_rounder_is_refused_unless_it_is_wanted() -> None:
    toy, bank = banks.table(), banks.bank()
    with pytest.raises(mq.InvalidInput, match=f"the policy {OTHER}"):
        Evaluator(MODEL, DATA).evaluate(on(toy))
    with pytest.raises(mq.InvalidInput, match=f"the policy {OTHER}"):
        mq.validate(MODEL, on(toy), DATA)
    with pytest.raises(mq.InvalidInput, match="the policy is about weights rounded by nearest, but these are rounded"):
        mq.validate(MODEL, on(small.table()), DATA, bank=bank)
    evaluator = Evaluator(MODEL, DATA)
    whole = evaluator.evaluate(on(small.table()))
    with pytest.raises(mq.InvalidInput, match=f"the table {OTHER}"):
        find_carriers(evaluator, on(small.table()), toy, whole)
    measured = mq.validate(MODEL, on(toy), DATA, other_rounder=True).policy.measured
    assert measured.kl == mq.validate(MODEL, on(small.table()), DATA).policy.measured.kl
    measured = mq.validate(MODEL, on(small.table()), DATA, bank=bank, other_rounder=True).policy.measured
    assert measured.kl == mq.validate(MODEL, on(toy), DATA, bank=bank).policy.measured.kl


def test_the_prediction_of_another_table_is_about_its_rounder() -> None:
    """A policy of a table of nearest weights, predicted anew by the table of the bank, is about the bank's weights."""
    got = mq.validate(MODEL, on(small.table()), DATA, table=banks.table(), bank=banks.bank())
    assert got.policy.policy is not None
    assert got.policy.policy.rounder == "truncation"
    assert got.policy.predicted == on(banks.table()).predicted
    with pytest.raises(mq.InvalidInput, match=f"the policy {OTHER}"):
        mq.validate(MODEL, on(small.table()), DATA, table=banks.table())


def test_what_a_bank_does_not_hold_is_refused() -> None:
    with pytest.raises(mq.InvalidInput, match="the bank holds no weights in 'w3', but in w2, w4, w8: round the"):
        mq.validate(MODEL, on(banks.table()), DATA, bank=banks.bank(formats="w2,w4,w8"))
    other = small.network()
    with torch.no_grad():
        other.get_parameter("3.weight").add_(0.1)
    with pytest.raises(mq.InvalidInput, match="the weight of layer '3' is not the one that the bank was rounded from"):
        mq.validate(other, on(banks.table()), DATA, bank=banks.bank())
    for call in (Simulator, lambda model, bank: Evaluator(model, DATA, bank=bank)):
        with pytest.raises(mq.InvalidInput, match=r"bank is a str: give what round_weights\(\) returned, or WeightBa"):
            call(MODEL, "folder")  # type: ignore[arg-type]


def test_the_rival_is_the_best_uniform_format_of_the_bank_that_takes_no_more_bytes() -> None:
    menu = "w2,w2z,w3,w3z,w3g32,w3g32z,w4,w4z,w8"
    bank = banks.bank("nearest", menu)
    table = mq.measure(MODEL, small.data(), formats=menu, bank=bank)
    budget = on(table, *["w4"] * 4).costs["weight_bytes"] + 3
    made = mq.allocate(table, {"weight_bytes": budget}).policy
    got = mq.validate(MODEL, made, DATA, bank=bank)
    (rival,) = got.rows[1:-1]
    rivals = {}
    for entry in bank.formats:
        uniform = mq.Policy(made.layer_names, (entry,) * len(made))
        if mq.Policy.uniform(table, entry).costs["weight_bytes"] <= budget:
            rivals[f"uniform {entry.name}, same rounder"] = Evaluator(MODEL, DATA, bank=bank).evaluate(uniform).kl
    assert len(rivals) > 3
    assert {rival.name: rival.measured.kl} == {min(rivals, key=rivals.__getitem__): min(rivals.values())}
    assert rival.weight_bytes <= budget
    assert rival.kl_difference == pytest.approx(rival.measured.kl - got.policy.measured.kl)


def test_rivals_of_a_bank_store_inputs_as_the_policy_does() -> None:
    bank = banks.bank("nearest", "w2,w4,w4a8d,w8a8d,w3a4d")
    simulator = Simulator(MODEL, bank)

    def rivals(*names: str) -> list[str]:
        policy = mq.Policy(small.table().layer_names, tuple(map(mq.Format.named, names)))
        return [each.formats[0].name for each in uniforms_of_size(policy, simulator)]

    assert rivals("w4a8d", "w8a8d", "w4a8d", "w4a8d") == ["w4a8d"]
    assert rivals("w2", "w4", "w2", "w4") == ["w2"]
    assert rivals("w4a8d", "w8a8d", "w4", "w4a8d") == []
    assert rivals("w4", "w4", "w4", "w4") == []
    narrow = Simulator(MODEL, banks.bank("nearest", "w4,w8"))
    policy = mq.Policy(small.table().layer_names, tuple(map(mq.Format.named, ("w2", "w3", "w2", "w2"))))
    (only,) = uniforms_of_size(policy, narrow)  # none is as small: the smallest
    assert only.formats[0].name == "w4"


def test_of_nothing_there_is_no_best_and_what_cannot_be_measured_is_last() -> None:
    evaluator = Evaluator(MODEL, DATA)
    assert best_measured([], evaluator) is None
    policies = [on(small.table(), *[name] * 4) for name in ("w2", "w8", "w3")]
    best = best_measured(policies, evaluator)
    assert best is not None
    assert best[0] == policies[1]
    assert evaluator.passes == 3


def test_a_policy_with_nothing_predicted_takes_any_bank() -> None:
    by_hand = dataclasses.replace(on(banks.own_table()), rounder="")
    named = mq.Policy(by_hand.layer_names, tuple(mq.Format.named(name) for name in NAMES))
    assert re.match("no verdict", mq.validate(MODEL, named, DATA, bank=banks.bank()).verdict)
