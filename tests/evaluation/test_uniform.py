"""The uniform formats that a policy is compared with: those of its budget, not of the bytes that it happens to take."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

import mckp_quant as mq
from mckp_quant.evaluation.simulation import Simulator
from mckp_quant.evaluation.uniform import uniforms_of_size

GENERATOR = torch.Generator().manual_seed(0)
BATCHES = [torch.randn(25, 6, generator=GENERATOR) for _ in range(4)]


def network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 5))


MODEL = network()
SIMULATOR = Simulator(MODEL)
TABLE = mq.measure(MODEL, BATCHES, formats="w2,w3,w4,w8")


def policy(*names: str) -> mq.Policy:
    return mq.Policy(("0", "2", "4"), tuple(map(mq.Format.named, names)))


def names_of(made: mq.Policy) -> list[str]:
    found = []
    for uniform in uniforms_of_size(made, SIMULATOR):
        (name,) = {entry.name for entry in uniform.formats}
        found.append(name)
    return found


@pytest.mark.parametrize("name", ["w3", "w4"])
@pytest.mark.parametrize("budget", ["weight_bytes", "bits_per_weight"])
@pytest.mark.parametrize("target", [None, "onnxruntime"])
def test_policy_made_at_the_size_of_a_uniform_format_is_compared_with_that(
    name: str, budget: str, target: str | None
) -> None:
    uniform = mq.Policy.uniform(TABLE, name)
    asked = uniform.costs["weight_bytes"] if budget == "weight_bytes" else uniform.bits_per_weight * (1 + 1e-12)
    if target is not None:
        name = "w4"
        asked = SIMULATOR.weight_bytes(dataclasses.replace(mq.Policy.uniform(TABLE, name), target=target))
        budget = "weight_bytes"
    made = mq.allocate(TABLE, {budget: asked}, target=target).policy
    if len(set(made.formats)) > 1:
        assert names_of(made) == [name]
        (row,) = mq.validate(MODEL, made, BATCHES).rows[1:-1]
        assert row.name == f"uniform {name}"
        assert row.weight_bytes >= mq.validate(MODEL, made, BATCHES).policy.weight_bytes


def test_policy_below_its_budget_is_not_set_against_a_narrower_format() -> None:
    """By its own bytes, which fall short of those of w4, it would be compared with w3."""
    asked = mq.Policy.uniform(TABLE, "w4").costs["weight_bytes"]
    made = mq.allocate(TABLE, {"weight_bytes": asked}).policy
    mixed = dataclasses.replace(made, formats=policy("w4", "w3", "w4").formats, layer_bits=())
    assert SIMULATOR.weight_bytes(mixed) < asked
    assert names_of(mixed) == ["w4"]


def test_budget_between_two_uniform_formats_names_both() -> None:
    sizes = [mq.Policy.uniform(TABLE, name).costs["weight_bytes"] for name in ("w3", "w4")]
    made = mq.allocate(TABLE, {"weight_bytes": sum(sizes) // 2}).policy
    got = mq.validate(MODEL, made, BATCHES)
    assert [row.name for row in got.rows] == ["float", "uniform w3", "uniform w4", "policy"]
    assert got.rows[1].weight_bytes < got.policy.weight_bytes <= sum(sizes) // 2 < got.rows[2].weight_bytes


def test_without_a_budget_on_size_its_own_bytes_lie_between_the_two() -> None:
    mixed = policy("w2", "w4", "w8")
    narrow, wide = uniforms_of_size(mixed, SIMULATOR)
    assert [each.formats[0].name for each in (narrow, wide)] == ["w4", "w5"]
    assert SIMULATOR.weight_bytes(narrow) <= SIMULATOR.weight_bytes(mixed) < SIMULATOR.weight_bytes(wide)
    bops = mq.allocate(TABLE, {"bops": "50%", "weight_bytes": "100%"}).policy
    own = dataclasses.replace(bops, budgets=())
    assert names_of(bops) == names_of(own)


def test_one_bit_too_much_and_eight_too_few_leave_one_to_compare_with() -> None:
    assert names_of(policy("w8", "w8", "w4")) == ["w7", "w8"]
    roomy = mq.allocate(TABLE, {"weight_bytes": "1MB"}).policy
    mixed = dataclasses.replace(roomy, formats=policy("w8", "w4", "w8").formats, layer_bits=())
    assert names_of(mixed) == ["w8"]


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (("w2a8", "w4a8", "w8a8"), ["w4a8", "w5a8"]),
        (("w2", "w4a8", "w8"), []),
        (("w2", "w4", "float"), []),
        (("w4", "w4", "w4"), []),
    ],
)
def test_uniform_formats_keep_what_the_formats_have_in_common(names: tuple[str, ...], found: list[str]) -> None:
    assert names_of(policy(*names)) == found


def test_they_are_compared_with_by_default_only() -> None:
    def rows(made: mq.Policy, against: tuple[mq.Policy, ...] | None = None) -> list[str]:
        return [row.name for row in mq.validate(MODEL, made, BATCHES, against=against).rows]

    assert rows(policy("w2", "w4", "w8")) == ["float", "uniform w4", "uniform w5", "policy"]
    assert rows(policy("w4", "w4", "w4")) == ["float", "policy"]
    assert rows(policy("w2", "w4", "w8"), ()) == ["float", "policy"]
