from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mckp_quant as mq
from mckp_quant.formats.format import as_formats
from mckp_quant.search.space import Space
from mckp_quant.solvers import NoSolution

from . import small


def drawn(seed: int, budgets: int = 1) -> Space:
    rng = np.random.default_rng(seed)
    n_layers = int(rng.integers(1, 7))
    layers = [
        mq.Layer(f"layer{i}", "linear", (rows, columns), 1, macs)
        for i, (rows, columns, macs) in enumerate(rng.integers(1, (9, 30, 99), (n_layers, 3)).tolist())
    ]
    formats = as_formats("w2,w3,w4,w8")
    loss = rng.random((n_layers, 4))
    loss[rng.random((n_layers, 4)) < 0.2] = np.nan
    loss[:, 1] = rng.random(n_layers)
    table = mq.SensitivityTable(tuple(layers), formats, loss, np.full_like(loss, np.nan))
    names = {"weight_bytes": "60%", "bops": "60%"}
    problem, index = mq.build(table, dict(list(names.items())[:budgets]))
    return Space(table, problem, index)


def every(space: Space) -> list[tuple[int, ...]]:
    return list(itertools.product(*(range(size) for size in space.size.tolist())))


@given(st.integers(0, 300), st.integers(1, 2))
def test_whatever_the_operators_make_is_within_the_budgets(seed: int, budgets: int) -> None:
    try:
        space = drawn(seed, budgets)
    except NoSolution:
        return
    rng = np.random.default_rng(seed)
    top = tuple((space.size - 1).tolist())
    genome = space.random(rng)
    for made in (
        genome,
        space.repaired(top, rng),
        space.repaired(top, rng, space.harm()),
        space.switched(genome, rng),
        space.filled(space.repaired(top, rng, space.harm()), rng),
        space.optimum,
        *space.uniform(),
        *space.neighbours(genome),
    ):
        policy = space.policy(made)
        for budget in ("weight_bytes", "bops")[:budgets]:
            most = space.budget[("weight_bytes", "bops").index(budget)]
            assert policy.costs[budget] <= most
    assert not list(space.neighbours(genome))


@given(st.integers(0, 100))
def test_costs_and_policies_are_those_of_the_formats(seed: int) -> None:
    try:
        space = drawn(seed)
    except NoSolution:
        return
    for genome in every(space)[:50]:
        policy = space.policy(genome)
        assert space.cost(genome) == (policy.costs["weight_bytes"],)
        assert space.predicted(genome) == pytest.approx(policy.predicted)
        assert space.genome(policy) == genome
        assert [
            space.formats(space.groups[name])[rank] for name, rank in zip(policy.layer_names, genome, strict=True)
        ] == list(policy.formats)
    assert all((np.diff(space.costs(group)[0]) >= 0).all() for group in range(len(space)))


def test_the_optimum_is_the_best_prediction_within_the_budgets() -> None:
    space = small.space()
    best = min((genome for genome in every(space) if space.fits(genome)), key=space.predicted)
    assert space.predicted(space.optimum) == pytest.approx(space.predicted(best))


def test_uniform_policies_stand_dearest_first() -> None:
    assert [set(genome) for genome in small.space("100%").uniform()] == [{3}, {2}, {1}, {0}]
    assert [set(genome) for genome in small.space("60%").uniform()] == [{2}, {1}, {0}]


def test_repair_with_harm_gives_up_what_loses_least() -> None:
    space = small.space("99%")
    top = tuple((space.size - 1).tolist())
    harm = np.zeros((len(space), 4))
    harm[1:] = [[9, 9, 9, 0]]
    repaired = space.repaired(top, np.random.default_rng(0), harm)
    assert repaired[0] < top[0]
    assert repaired[1:] == top[1:]


def test_a_switch_raises_one_group_and_lowers_others() -> None:
    space, rng = small.space(), np.random.default_rng(0)
    genome = space.random(rng)
    moved = [np.array(space.switched(genome, rng)) - np.array(genome) for _ in range(20)]
    assert all((step > 0).sum() <= 1 for step in moved)
    assert any((step > 0).sum() == 1 and (step < 0).any() for step in moved)


def test_a_policy_of_other_formats_has_no_genome() -> None:
    problem, index = mq.build(small.table(), mq.Request({"weight_bytes": "50%"}, tied=[["0", "3"]]))
    space = Space(small.table(), problem, index)
    formats = as_formats("w2,w3,w4,w8")
    mixed = mq.Policy(small.table().layer_names, formats)
    with pytest.raises(mq.InvalidInput, match=r"gives w2 and w3 to the group of layer '0'"):
        space.genome(mixed)


def test_further_constraints_are_refused() -> None:
    problem, index = mq.build(
        small.table(), mq.Request({"weight_bytes": "50%"}, constraints=mq.Constraints(max_formats=2))
    )
    with pytest.raises(mq.InvalidInput, match="no further constraints"):
        Space(small.table(), problem, index)


def test_a_budget_that_nothing_meets_is_refused() -> None:
    problem, index = mq.build(small.table(), {"weight_bytes": "50%"})
    with pytest.raises(NoSolution, match="nothing to search"):
        Space(small.table(), problem.with_budget([1]), index)


@pytest.mark.slow
def test_repair_that_gets_stuck_knows_nothing_of_the_losses() -> None:
    stuck = 0
    for seed in range(200):
        try:
            space = drawn(seed, 2)
        except NoSolution:
            continue
        top = tuple((space.size - 1).tolist())
        repaired = space.repaired(top, np.random.default_rng(seed))
        shares = [
            sum(used / most for used, most in zip(space.cost(each), space.budget, strict=True)) for each in every(space)
        ]
        cheapest = min(share for share, each in zip(shares, every(space), strict=True) if space.fits(each))
        own = sum(used / most for used, most in zip(space.cost(space._within), space.budget, strict=True))
        assert own == pytest.approx(cheapest)
        stuck += repaired == space._within
    assert stuck
