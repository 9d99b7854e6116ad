"""The unit of the values, which says how small an improvement can be."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mckp_quant.solvers import Problem
from mckp_quant.solvers.core.reduction import reduce

from .. import oracle
from ..checks import agrees, solved


@given(scale=st.sampled_from([1.0, 2.0**-30, 2.0**40, 3.0]), seed=st.integers(0, 1000))
@settings(max_examples=30)
def test_unit_of_the_values_is_found_at_any_scale(scale: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    cost = rng.integers(1, 50, (6, 4))
    value = rng.integers(0, 30, (6, 4)) * 6.0 * scale
    problem = Problem.from_table(value, cost, int(cost.mean(axis=1).sum()))
    reduction = reduce(problem)
    assert reduction.gap == 0 or reduction.least_gain >= 6.0 * scale * (1 - 1e-9)
    agrees(problem, solved(problem, "exact"), oracle.optimum(problem))


def test_values_without_a_unit_are_told_apart_to_the_last_digits() -> None:
    value = [[0.0, 1.0], [1.0 + 2.0**-40, 0.0], [0.5, 0.25]]
    problem = Problem.from_table(value, [[5, 0], [0, 5], [1, 2]], 6)
    agrees(problem, solved(problem, "exact"), oracle.optimum(problem))
