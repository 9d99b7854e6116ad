from __future__ import annotations

import math

import pytest

from benchmarks.solvers import oracle
from mckp_quant.solvers import Enumerate, Status, solve

from .problems import small


@pytest.mark.parametrize("budget", [0, 3, 8, 30])
@pytest.mark.parametrize("n_budgets", [1, 2])
def test_both_oracles_agree_with_trying_everything(budget: int, n_budgets: int) -> None:
    problem = small(budget, n_budgets)
    solution = solve(problem, Enumerate())
    expected = math.inf if solution.status is Status.INFEASIBLE else solution.value
    assert oracle.by_enumeration(problem) == expected
    assert oracle.by_table(problem) == pytest.approx(expected, rel=1e-12)
    assert oracle.optimum(problem) == expected
