from __future__ import annotations

import numpy as np

from mckp_quant.solvers import Problem


def small(budget: int, n_budgets: int = 1) -> Problem:
    """Six groups of three choices, drawn anew for each budget."""
    rng = np.random.default_rng(budget)
    cost = rng.integers(0, 5, (n_budgets, 6, 3))
    return Problem.from_table(rng.normal(size=(6, 3)), cost, [budget] * n_budgets)
