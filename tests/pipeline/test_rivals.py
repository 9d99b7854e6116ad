from __future__ import annotations

import math

import mckp_quant as mq
from mckp_quant.pipeline.rivals import best_uniform, uniforms_within

from ..search import small


def test_uniform_policies_are_those_within_the_budget() -> None:
    table = small.table()
    sizes = {name: mq.Policy.uniform(table, name).costs["weight_bytes"] for name in table.format_names}
    for limit in (*sizes.values(), min(sizes.values()) - 1):
        found = uniforms_within(table, mq.Request({"weight_bytes": limit}), 10)
        assert set(found) == {f"uniform {name}" for name, size in sizes.items() if size <= limit}
        for name, policy in found.items():
            assert policy == mq.Policy.uniform(table, name.removeprefix("uniform "))
            assert policy.costs["weight_bytes"] <= limit


def test_nothing_is_claimed_of_a_uniform_policy_and_pins_are_those_of_the_request() -> None:
    found = uniforms_within(small.table(), mq.Request({"weight_bytes": "90%"}, pinned={"0": "w8"}), 10)
    policy = found["uniform w3"]
    assert (policy.status, policy.ground, policy.solver) == ("uniform, within the request", "none", "")
    assert math.isnan(policy.bound)
    assert policy.pinned == (("0", "w8"),)
    assert {name: policy[name].name for name in policy.layer_names} == {"0": "w8", "3": "w3", "6": "w3", "8": "w3"}


def test_constraints_and_rules_of_the_request_hold() -> None:
    request = mq.Request({"weight_bytes": "95%"}, tied=[["3", "6"]], choices={"3": ["w2", "w4"]})
    found = uniforms_within(small.table(), request, 10)
    assert "uniform w3" not in found  # '3' may not have it, and '6' has to have what '3' has
    assert {each.formats[1].name for each in found.values()} <= {"w2", "w4"}
    two = mq.Request({"weight_bytes": "95%"}, pinned={"0": "w8"}, constraints=mq.Constraints(max_formats=1))
    assert set(uniforms_within(small.table(), two, 10)) <= {"uniform w8"}


def test_the_best_is_the_one_of_least_measured_kl() -> None:
    bank = mq.round_weights(small.network(), small.data(), "w2,w3,w4,w8", rounder="nearest")
    found = uniforms_within(small.table(), mq.Request({"weight_bytes": "60%"}), 10)
    best = best_uniform(small.network(), found, small.data(seed=4), mq.Outputs(), bank)
    assert best is not None
    measured = {
        name: mq.validate(small.network(), each, small.data(seed=4), bank=bank, against={}).policy.measured.kl
        for name, each in found.items()
    }
    assert best[0] == min(measured, key=measured.__getitem__)
    assert best_uniform(small.network(), {}, small.data(), mq.Outputs(), bank) is None
