from __future__ import annotations

import numpy as np

from benchmarks.solvers.best_known import digest
from benchmarks.solvers.library import incommensurable, library, tightened
from mckp_quant.solvers import instances, solve


def test_instances_have_names_of_their_own_and_say_how_they_are_made() -> None:
    every = library()
    assert all(name == each.name and each.call for name, each in every.items())
    problem = every["ResNet-50 54x4, share 0.5, seed 1"].make()
    same = instances.quantisation(instances.resnet50(), (2, 3, 4, 8), share=0.5, seed=1)
    assert problem.value.tolist() == same.value.tolist()
    assert digest(problem) == digest(same)


def test_the_table_that_odd_costs_would_take_is_as_large_as_stated() -> None:
    problem = incommensurable()
    assert np.gcd.reduce(problem.cost[0]) == 1
    assert round(problem.n_groups * (int(problem.budget[0]) + 1) * 8 / 1e9) == 93


def test_further_budgets_are_tightened_until_they_bind() -> None:
    problem = instances.quantisation(instances.resnet50(), (2, 4, 8), n_budgets=2)
    tight = tightened(problem)
    free = solve(problem.with_budget([problem.budget[0], 2**62])).require()
    assert tight.budget[0] == problem.budget[0]
    assert tight.budget[1] < free.cost[1]
    assert solve(tight).value > free.value
