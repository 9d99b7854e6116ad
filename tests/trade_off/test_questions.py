from __future__ import annotations

import dataclasses
from fractions import Fraction

import numpy as np
import pytest

import mckp_quant as mq
from mckp_quant import Activation, Constraints, InvalidInput, Policy, Request
from mckp_quant.solvers import NoSolution
from mckp_quant.trade_off import explain, k_best

from ..drawn_tables import make_table
from .test_walking import TABLE, every


def test_the_next_amount_that_helps_is_the_least_one_that_lowers_the_loss() -> None:
    found = explain(TABLE, {"weight_bytes": 700})
    assert found.allocation is not None
    assert found.allocation.policy == mq.allocate(TABLE, {"weight_bytes": 700}).policy
    (bought,) = found.bought
    assert bought.budget.limit == 700
    assert bought.used == found.allocation.policy.costs["weight_bytes"]
    assert bought.price > 0
    assert bought.next is not None
    loss = found.allocation.policy.predicted
    better = min(policy.costs["weight_bytes"] for policy in every(TABLE) if policy.predicted < loss * (1 - 1e-12))
    assert bought.next.amount == better
    then = mq.allocate(TABLE, {"weight_bytes": better}).policy
    assert bought.next.saving == pytest.approx(loss - then.predicted)
    before = found.allocation.policy
    assert bought.next.formats == tuple(
        (layer, before[layer].name, then[layer].name) for layer in then.layer_names if before[layer] != then[layer]
    )


def test_a_budget_that_does_not_bind_is_worth_nothing_and_said_to_change_nothing() -> None:
    found = explain(TABLE, {"weight_bytes": 700, "bops": "100%"})
    assert [each.budget.name for each in found.bought] == ["weight_bytes", "bops"]
    assert found.bought[0].price > 0
    assert (found.bought[1].price, found.bought[1].next) == (0, None)
    (reason,) = found.reasons
    assert reason.startswith("budget bops = 100% (3,840,000 bit operations per sample) changes nothing")


def test_a_minimum_is_told_in_what_it_counts() -> None:
    # Better formats are the smaller ones here, so that the minimum binds.
    table = dataclasses.replace(TABLE, loss=TABLE.loss[:, ::-1].copy())
    found = explain(table, Request({"weight_bytes": "100%"}, at_least={"bits_per_weight": 4}))
    assert found.allocation is not None
    bought = found.bought[1]
    assert bought.budget.least
    assert bought.used == found.allocation.policy.costs["stored_bits"] >= bought.budget.limit
    assert bought.price > 0
    assert bought.next is not None
    assert bought.next.amount < bought.budget.limit
    lower = mq.allocate(
        table, Request({"weight_bytes": "100%"}, at_least={"bits_per_weight": Fraction(bought.next.amount, 1500)})
    )
    assert bought.next.saving == pytest.approx(found.allocation.policy.predicted - lower.policy.predicted)


def test_why_nothing_fits_names_the_amounts_that_would_do() -> None:
    alone = explain(TABLE, {"weight_bytes": 100})
    assert alone.allocation is None
    least = Policy.uniform(TABLE, "w2").costs["weight_bytes"]
    assert f"even the cheapest formats take {least:,} bytes, the least that works" in alone.reasons[0]
    assert alone.factor == pytest.approx(least / 100)
    request = Request({"weight_bytes": 600}, at_least={"bops": "60%"})
    together = explain(TABLE, request)
    enough = min(p.costs["weight_bytes"] for p in every(TABLE) if p.costs["bops"] >= 0.6 * 3_840_000)
    assert together.allocation is None
    assert (
        f"budget weight_bytes = 600: the least that works while the others stay is {enough:,} bytes" in together.reasons
    )
    most = max(p.costs["bops"] for p in every(TABLE) if p.costs["weight_bytes"] <= 600)
    assert any(
        f"the most that works while the others stay is {most:,} bit operations" in each for each in together.reasons
    )
    document = together.document()
    assert (document["policy"], document["reasons"]) == (None, list(together.reasons))


def test_the_least_peak_that_works_is_told() -> None:
    table = make_table([[3.0, 2, 1], [3, 2, 1]])
    tensors = [Activation(64, 0, 1, ("a",)), Activation(64, 0, 1, ("b",))]  # in float32, both all the time
    request = Request({"total_bytes": 640}, at_least={"bits_per_weight": 4.1}, activations=tensors)
    found = explain(table, request)
    assert found.allocation is None
    fits = [policy for policy in every(table) if policy.bits_per_weight >= 4.1]
    least = 2 * 64 * 4 + min(policy.costs["weight_bytes"] for policy in fits)
    words = f"budget total_bytes = 640: the least that works while the others stay is {least:,} bytes"
    assert [each.partition(" (")[0] for each in found.reasons if "total_bytes" in each] == [words]
    enough = dataclasses.replace(request, budgets={"total_bytes": least})
    assert [each.budget.name for each in explain(table, enough).bought] == ["bits_per_weight"]


def test_documents_of_explanations_are_plain() -> None:
    document = explain(TABLE, {"weight_bytes": 700}).document()
    (budget,) = document["budgets"]
    assert budget["name"] == "weight_bytes"
    assert set(budget["next"]) == {"amount", "saving", "formats"}
    assert document["policy"]["status"] == "proved optimal"


def test_the_k_best_are_those_of_brute_force() -> None:
    wanted = sorted(policy.predicted for policy in every(TABLE) if policy.costs["weight_bytes"] <= 700)[:12]
    found = k_best(TABLE, {"weight_bytes": 700}, 12)
    assert [policy.predicted for policy in found] == pytest.approx(wanted)
    assert len(set(found)) == 12
    assert found[0] == mq.allocate(TABLE, {"weight_bytes": 700}).policy
    assert all(policy.costs["weight_bytes"] <= 700 for policy in found)
    tied = k_best(TABLE, Request({"weight_bytes": 700}, pinned={"a": "w4"}, tied=[["b", "c"]]), 5)
    assert all(policy["a"].name == "w4" and policy["b"] == policy["c"] for policy in tied)


def test_there_are_no_more_than_there_are() -> None:
    assert len(k_best(make_table([[3.0, 2, 1]]), {"weight_bytes": "100%"}, 9)) == 3


def test_what_cannot_be_ranked_or_explained_is_named() -> None:
    with pytest.raises(InvalidInput, match="k is 0: it must be a whole number, at least 1"):
        k_best(TABLE, {"weight_bytes": 700}, 0)
    with pytest.raises(InvalidInput, match="k_best takes no constraints on the policy as a whole"):
        k_best(TABLE, Request({"weight_bytes": 700}, constraints=Constraints(max_formats=2)), 3)
    with pytest.raises(NoSolution, match="budget weight_bytes = 3 cannot be met"):
        k_best(TABLE, {"weight_bytes": 3}, 3)
    with pytest.raises(NoSolution, match="no policy is within all the budgets together"):
        k_best(TABLE, Request({"weight_bytes": 600}, at_least={"bops": "60%"}), 3)
    for call in (lambda: explain(TABLE, {"bops": 5}, seconds=-1), lambda: k_best(TABLE, {"bops": 5}, 1, seconds=-1)):
        with pytest.raises(InvalidInput, match="seconds is -1: give a number of seconds above 0"):
            call()


def test_the_price_of_a_byte_is_the_slope_of_the_relaxation() -> None:
    rng = np.random.default_rng(0)
    table = make_table((rng.random((8, 1)) * [[1.0, 0.2, 0.01]]).tolist())
    (bought,) = explain(table, {"weight_bytes": "50%"}).bought
    walk = mq.front(table)
    uses = np.array([each.used for each in walk.points])
    losses = np.array([each.predicted for each in walk.points])
    below = [(losses[at] - losses[other]) / (uses[other] - uses[at]) for at in range(len(uses)) for other in range(at)]
    assert min(np.abs(below)) <= bought.price <= max(np.abs(below))
