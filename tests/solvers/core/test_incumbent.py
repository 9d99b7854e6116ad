"""Filling up the budget of a single-budget problem before any search."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings

from mckp_quant.solvers import Problem, Status
from mckp_quant.solvers.bounds.bound import relax_one_budget
from mckp_quant.solvers.bounds.hull import undominated
from mckp_quant.solvers.core.incumbent import fill

from ..checks import solved
from ..drawn import FEASIBLE, problems
from ..families import subset_sum


@pytest.mark.parametrize("n_groups", [100, 2000])
def test_subset_sums_are_filled_to_the_brim_before_any_search(n_groups: int) -> None:
    solution = solved(subset_sum(n_groups, 10, seed=1, reach=10_000), "exact")
    assert solution.status is Status.OPTIMAL
    assert solution.cost == solution.budget
    assert solution.stats["states"] == 0


@given(problem=problems(max_groups=8, budgets=FEASIBLE))
@settings(max_examples=300)
def test_filling_stays_within_the_budget_and_takes_every_step_above_the_rate(problem: Problem) -> None:
    hull, rate = relax_one_budget(problem, undominated(problem.value, problem.cost[0], problem.start))
    filled = fill(problem, hull, rate)
    cost = sum(problem.cost[0, filled].tolist())
    assert cost <= int(problem.budget[0])
    best = -math.inf if rate == 0 else problem.value[hull.point[hull.first]].sum()
    assert rate == 0 or problem.value[filled].sum() <= best
    # No tied step that was passed over would still fit.
    taken = dict(zip(problem.group[filled].tolist(), filled.tolist(), strict=True))
    for step in np.flatnonzero(hull.rate == rate).tolist() if rate else []:
        if taken[int(hull.group[step])] == hull.point[hull.tail[step]]:
            assert cost + int(hull.weight[step]) > int(problem.budget[0])
