"""Changes of several groups that enter together."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from mckp_quant.solvers.core_search import combinations
from mckp_quant.solvers.core_search.combinations import combine
from mckp_quant.solvers.core_search.remaining import Choices, Remaining


@pytest.mark.parametrize("filter_from", [0, 10**6])
@pytest.mark.parametrize("seed", range(4))
def test_combinations_are_all_changes_within_the_limit(
    seed: int, filter_from: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(combinations, "_FILTER_FROM", filter_from)
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(4), [1, 3, 2, 2])
    cost, reduced = rng.integers(-9, 10, 8), rng.random(8)
    cost[cost == 0] = 1
    price = 0.75
    index = rng.permutation(100)[:8]
    choices = Choices(index, group, cost, reduced - price * cost, reduced, reduced / np.abs(cost))
    most = 1.2
    made, after = combine(Remaining.of(choices, price), 1, 10**6, price, most)
    assert after == 4
    members = [(None, 1, 2, 3), (None, 4, 5), (None, 6, 7)]
    ways = [[at for at in way if at is not None] for way in itertools.product(*members)]
    wanted = {
        frozenset(index[way].tolist()): (int(cost[way].sum()), float((reduced - price * cost)[way].sum()))
        for way in ways
        if filter_from or reduced[way].sum() <= most
    }
    found = {frozenset(made.chosen(at)): at for at in range(len(made))}
    assert found.keys() == wanted.keys()
    assert found[frozenset()] == 0
    for way, at in found.items():
        assert (int(made.cost[at]), float(made.value[at])) == pytest.approx(wanted[way])
    few, after = combine(Remaining.of(choices, price), 1, 5, price, math.inf)
    assert (len(few), after) == (4, 2)  # a group enters whole, however few are wanted
