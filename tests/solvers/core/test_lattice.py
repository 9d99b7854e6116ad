"""What the common pattern of costs and values adds to the bound."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mckp_quant.solvers import Status
from mckp_quant.solvers.core.lattice import least_total
from mckp_quant.solvers.core.reduction import reduce

from ..checks import solved
from ..families import strongly_correlated


@given(
    seed=st.integers(0, 2**32 - 1),
    step=st.integers(1, 12),
    slope=st.integers(-3, 3),
    unit=st.sampled_from([1.0, 0.25, 1024.0]),
    thin=st.integers(1, 4),
)
@settings(max_examples=200)
def test_no_selection_comes_closer_to_the_bound_than_the_lattice_lets_it(
    seed: int, step: int, slope: int, unit: float, thin: int
) -> None:
    rng = np.random.default_rng(seed)
    n_groups, n_choices = int(rng.integers(1, 5)), int(rng.integers(1, 5))
    cost = thin * rng.integers(-20, 21, (n_groups, n_choices))
    value = np.float64(unit) * (slope * cost + step * rng.integers(-9, 10, (n_groups, n_choices)))
    value = value.astype(np.float64)
    cost[:, 0], value[:, 0] = 0, 0.0
    price, slack = float(rng.random() * 8 * unit), int(rng.integers(0, 60))
    offset = np.minimum(value + price * cost, 0).min(axis=1).sum()  # any price: the reference need not be cheapest
    least = least_total(value.ravel(), cost.ravel(), price, slack, unit)
    assert least >= 0
    for chosen in itertools.product(range(n_choices), repeat=n_groups):
        at = (np.arange(n_groups), chosen)
        unused = slack - int(cost[at].sum())
        total = float((value[at] + price * cost[at]).sum()) + price * unused
        if unused >= 0 and offset == 0:
            assert total >= least - 1e-9 * unit


def test_lattice_closes_what_rounding_to_the_unit_cannot() -> None:
    # Profit 10 a step beside the weight: between the bound and the best selection lie several units of profit.
    problem = strongly_correlated(1000, 10, seed=0, reach=1000)
    reduction = reduce(problem)
    assert reduction.gap > 2 * reduction.least_gain
    assert reduction.core.least_total > 0
    solution = solved(problem, "exact")
    assert solution.status is Status.OPTIMAL
    assert solution.stats["states"] < 10**5
