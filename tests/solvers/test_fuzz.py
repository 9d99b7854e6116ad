"""Long random runs against the oracle: `make fuzz`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from . import oracle
from .checks import COMPLETE, agrees, here, positions, solved, solved_or_refused
from .drawn import BUDGETS, COSTS, VALUES, random_problem, random_sizes

if TYPE_CHECKING:
    from mckp_quant.solvers import Problem

pytestmark = pytest.mark.fuzz
BLOCKS = 20


def drawn(rng: np.random.Generator, n_budgets: int, max_groups: int) -> Problem:
    size = random_sizes(rng, int(rng.integers(1, max_groups + 1)), int(rng.integers(2, 8)))
    costs = tuple(rng.choice(COSTS, n_budgets).tolist())
    budgets = tuple(rng.choice(BUDGETS, n_budgets).tolist())
    return random_problem(rng, str(rng.choice(VALUES)), costs, budgets, size)


@pytest.mark.parametrize("block", range(BLOCKS))
def test_exact_is_right_on_20_000_problems(block: int) -> None:
    rng = np.random.default_rng([2024, block])
    for _ in range(20_000 // BLOCKS):
        problem = drawn(rng, 1, 9)
        best = oracle.optimum(problem)
        solution = solved(problem, "exact")
        agrees(problem, solution, best)
        if best is not None:
            chosen = problem.value[positions(problem, solution)]
            assert solution.value <= best + 1e-12 * math.fsum(np.abs(chosen).tolist())


@pytest.mark.parametrize("block", range(4))
@pytest.mark.parametrize("solver", COMPLETE)
def test_every_complete_solver_is_right_on_2_000_problems(solver: str, block: int) -> None:
    here(solver)
    rng = np.random.default_rng([7, block])
    for _ in range(500):
        problem = drawn(rng, int(rng.integers(1, 4)), 6)
        solution = solved_or_refused(problem, solver)
        if solution is not None:
            agrees(problem, solution, oracle.optimum(problem))
