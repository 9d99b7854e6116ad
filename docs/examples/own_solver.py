"""A solver of one's own: one price on the budget, halved in until the selection fits (Everett 1963).

mckp-quant bench --family zigzag:50x8:3 --solver exact,greedy,own_solver.py:OnePrice
"""

from __future__ import annotations

import dataclasses
import time
from typing import ClassVar

import numpy as np

from mckp_quant.solvers import Answer, Problem


@dataclasses.dataclass(frozen=True)
class OnePrice:
    """Take the cheapest choice of every group at a price, and look for the least price at which that fits."""

    steps: int = 50
    name: ClassVar[str] = "one_price"
    requires: ClassVar[str | None] = None  # the package it needs
    reference: ClassVar[str] = "Everett (1963), Generalized Lagrange multiplier method"

    def supports(self, problem: Problem) -> str | None:
        """Give the reason why not, or None."""
        if problem.n_resources > 1 or problem.rows is not None or problem.pairs is not None:
            return "one_price takes one budget, and neither rows nor pairs"
        return None

    def __call__(self, problem: Problem, *, seconds: float, seed: int, warm: np.ndarray | None) -> Answer:
        """Solve; what is returned is a claim, which the front door checks."""
        deadline = time.perf_counter() + seconds
        cost, budget = problem.cost[0].astype(np.float64), int(problem.budget[0])
        low, high = 0.0, 1.0 + 2.0 * float(np.abs(problem.value).sum())
        best = np.lexsort((problem.value, cost, problem.group))[problem.start[:-1]]  # the least costs always fit
        for _ in range(self.steps):
            price = (low + high) / 2
            order = np.lexsort((cost, problem.value + price * cost, problem.group))
            chosen = order[problem.start[:-1]]  # the first of each group
            if int(problem.cost[0, chosen].sum()) <= budget:
                best, high = chosen, price
            else:
                low = price
            if time.perf_counter() > deadline:
                break
        return Answer(best, price=np.array([high]))  # complete=True would claim that nothing is better
