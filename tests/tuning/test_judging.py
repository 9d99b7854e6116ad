from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

import mckp_quant as mq
from mckp_quant.tuning import Finished, finish, validate_finished

from .networks import Residual

if TYPE_CHECKING:
    import torch


@functools.cache
def made() -> tuple[Residual, list[torch.Tensor], mq.WeightBank, Finished]:
    """A network under a mixed policy after the last pass, and a bank of its rounder."""
    model, data = Residual().eval(), Residual.data()
    bank = mq.round_weights(model, data, "w2,w3,w4")
    names = [layer.name for layer in bank.layers]
    formats = tuple(bank.formats[1 + at % 2] for at in range(len(names)))
    policy = mq.Policy(tuple(names), formats, rounder=bank.rounder)
    return model, data, bank, finish(model, policy, data, bank=bank)


def predicting(kl: float, stderr: float = 0.0) -> Finished:
    found = made()[3]
    unit = mq.evaluate(found.model, made()[0], made()[1]).unit
    return replace(found, policy=replace(found.policy, predicted=kl, predicted_stderr=stderr, unit=unit))


def test_rows_are_those_of_validate_and_the_finished_network() -> None:
    model, data, bank, finished = made()
    plain = mq.validate(model, finished.policy, data, bank=bank)
    found = validate_finished(model, finished, iter(data), bank=bank)
    assert [row.name for row in found.rows] == [
        "float",
        *(f"{row.name}, not finished" for row in plain.rows[1:]),
        "policy, finished",
    ]
    assert [row.measured.kl for row in found.rows[:-1]] == [row.measured.kl for row in plain.rows]
    own = mq.evaluate(finished.model, model, data)
    assert found.policy.measured.kl == pytest.approx(own.kl)
    for row in found.rows[:-1]:
        assert (row.kl_difference, row.kl_difference_stderr) == pytest.approx(row.measured.kl_difference(own))
    rival = found.rows[1]
    assert rival.name.endswith("same rounder, not finished")
    assert f"{rival.name!r}, KL {rival.measured.kl:.3g}" in found.verdict


def test_rivals_may_be_named() -> None:
    model, data, bank, finished = made()
    uniform = mq.Policy(finished.policy.layer_names, (bank.formats[0],) * len(finished.policy), rounder=bank.rounder)
    found = validate_finished(model, finished, data, bank=bank, against={"uniform w2": uniform})
    names = ["float", "uniform w2, not finished", "policy, not finished", "policy, finished"]
    assert [row.name for row in found.rows] == names
    assert found.rows[1].policy == uniform
    assert [row.name for row in validate_finished(model, finished, data, bank=bank, against={}).rows] == [
        names[0],
        *names[2:],
    ]


def test_without_a_bank_nothing_is_shown_under_codes_that_are_not_the_policys() -> None:
    model, data, _, finished = made()
    names = [row.name for row in validate_finished(model, finished, data).rows]
    assert names == ["float", *(f"uniform {each}, nearest, not finished" for each in ("w3", "w4")), "policy, finished"]


def test_a_network_may_be_better_than_predicted_and_not_worse() -> None:
    model, data, bank, finished = made()
    kl = mq.evaluate(finished.model, model, data).kl
    better = validate_finished(model, predicting(100 * kl), data, bank=bank)
    assert better.holds is True
    assert better.verdict.startswith(f"the finished network is better than predicted: {100 * kl:.3g} before the last")
    worse = validate_finished(model, predicting(kl / 100), data, bank=bank)
    assert worse.holds is False
    assert worse.verdict.startswith("the prediction fails, off by 1e+02x")
    assert worse.ratio == pytest.approx(0.01, rel=1e-3)


def test_codes_of_the_last_pass_go_with_predictions_of_their_rounder_only() -> None:
    model, _, bank, finished = made()
    assert finished.bank.rounder.startswith(f"finish({bank.rounder}, ")
    mq.apply(model, finished.policy, bank=finished.bank)
    with pytest.raises(mq.InvalidInput, match="is about weights rounded by nearest, but these are rounded by finish"):
        mq.apply(model, replace(finished.policy, rounder="nearest"), bank=finished.bank)
