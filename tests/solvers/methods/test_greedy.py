from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

from mckp_quant.solvers import Greedy, Problem, instances, solve
from mckp_quant.solvers.methods import greedy

from ..checks import verified
from ..families import quantisation


def test_walks_that_never_come_within_the_budgets_overflow_nothing() -> None:
    """Every walk raises the weights of the budgets that are exceeded: only their ratios may count."""
    cost = np.random.default_rng(0).integers(10**10, 10**12, (3, 5, 4))
    problem = Problem.from_table(np.zeros((5, 4)), cost, (cost.min(axis=2).sum(axis=1) * 0.9).astype(np.int64))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Greedy()(problem, seconds=10, seed=0, warm=None).choice is None


@pytest.mark.parametrize("direction", ["ascend", "descend", "both"])
def test_greedy_is_feasible_in_every_direction(direction: Any) -> None:
    for share in (0.0, 0.1, 0.5, 0.9, 1.0):
        problem = quantisation(30, (2, 4, 8), share=share, seed=5, n_budgets=2)
        single = quantisation(30, (2, 4, 8), share=share, seed=5)
        both = verified(single, solve(single, "greedy"))
        one = verified(single, solve(single, Greedy(direction=direction)))
        assert both.value <= one.value
        assert one.value >= solve(single, "exact").value
        verified(problem, solve(problem, Greedy(direction=direction)))


@pytest.mark.parametrize("n_budgets", [2, 3])
def test_greedy_weighs_those_budgets_more_that_run_out_first(n_budgets: int, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = instances.quantisation(instances.resnet50(), range(2, 9), share=0.5, seed=1, n_budgets=n_budgets)
    often = verified(problem, solve(problem, "greedy"))
    monkeypatch.setattr(greedy, "_WALKS", 1)
    once = verified(problem, solve(problem, "greedy"))
    best = solve(problem, "exact").value
    assert best <= often.value < once.value
    assert often.value - best < (once.value - best) / 4
