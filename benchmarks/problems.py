"""Random problems of every shape: the families that `benchmarks.solvers.fuzz` draws from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mckp_quant.solvers import Problem, instances

if TYPE_CHECKING:
    from numpy.typing import NDArray

PISINGER = ("uncorrelated", "weakly correlated", "strongly correlated", "subset-sum", "zigzag")
FAMILIES = ("drawn", "drawn larger", "network", *PISINGER, "several budgets")


def draw(rng: np.random.Generator, family: str, n_budgets: int) -> Problem:
    """A problem of a family, scaled by a power of ten."""
    seed = int(rng.integers(2**31))
    if family in ("drawn", "drawn larger"):
        problem = _drawn(rng, n_budgets, larger=family == "drawn larger")
    elif family == "network":
        bits = ((2, 4, 8), (2, 3, 4, 8), (2, 3, 4, 5, 6, 7, 8))[rng.integers(3)]
        n_groups = int(rng.integers(2, 30))
        layers = instances.llm(n_groups) if rng.random() < 0.3 else instances.lognormal(n_groups, seed=seed)
        share = float(rng.uniform(0.05, 0.95))
        problem = instances.quantisation(layers, bits, share=share, seed=seed, n_budgets=n_budgets)
    elif family == "several budgets":
        size = int(rng.integers(2, 9)), int(rng.integers(2, 6))
        problem = instances.several_budgets(*size, n_budgets, reach=int(rng.integers(1, 12)), seed=seed)
    else:
        make = getattr(instances, family.replace(" ", "_").replace("-", "_"))
        size = int(rng.integers(2, 13)), int(rng.integers(2, 8))
        problem = make(*size, reach=int(rng.choice([5, 100, 1000, 10_000])), seed=seed)
        problem = _with_more_budgets(rng, problem, n_budgets)
    scale = 10.0 ** rng.uniform(-12, 12)
    return Problem(problem.value * scale, problem.cost, problem.budget, problem.start, problem.label)


def _drawn(rng: np.random.Generator, n_budgets: int, *, larger: bool) -> Problem:
    size = rng.integers(1, 7, int(rng.integers(5, 26) if larger else rng.integers(1, 8)))
    start = np.concatenate([[0], np.cumsum(size)])
    n = int(start[-1])
    cost = np.array([_costs(rng, n, small=larger) for _ in range(n_budgets)])
    kind = rng.integers(5)
    value = (
        rng.integers(-3, 4, n).astype(np.float64),
        rng.normal(size=n),
        rng.integers(1, 1000, n) * 10.0 ** rng.integers(-8, 5, n),
        -cost[0].astype(np.float64),
        np.zeros(n),
    )[kind]
    if rng.random() < 0.3:  # the last choice of each group repeats the first one
        value[start[1:] - 1], cost[:, start[1:] - 1] = value[start[:-1]], cost[:, start[:-1]]
    label = np.concatenate([rng.permutation(3 * count)[:count] - 1 for count in size])
    return Problem(value, cost, np.array([_budget(rng, row, start) for row in cost]), start, label)


def _costs(rng: np.random.Generator, n: int, *, small: bool) -> NDArray[np.int64]:
    kind = rng.integers(2 if small else 6)
    if kind == 0:
        return rng.integers(0, 6, n)
    if kind == 1:
        return rng.integers(0, 3 if small else 1001, n)
    if kind == 2:
        return 10**12 + rng.integers(0, 10**6, n)
    if kind == 3:
        return rng.integers(0, 2**56, n)
    if kind == 4:
        return int(rng.choice([2, 6, 1000, 2**40])) * rng.integers(0, 21, n)
    return np.zeros(n, dtype=np.int64)


def _budget(rng: np.random.Generator, row: NDArray[np.int64], start: NDArray[np.int64]) -> int:
    least, most = (int(reduce.reduceat(row, start[:-1]).sum()) for reduce in (np.minimum, np.maximum))
    kind = rng.integers(10)
    if kind < 4:
        return int(rng.integers(least, most + 1))
    if kind < 7:
        return int(row[rng.integers(start[:-1], start[1:])].sum())
    return (least, least - 1, most)[kind - 7]


def _with_more_budgets(rng: np.random.Generator, problem: Problem, n_budgets: int) -> Problem:
    more = rng.integers(0, 101, (n_budgets - 1, problem.n_choices))
    cost = np.concatenate([problem.cost, more])
    budget = [*problem.budget.tolist(), *(_budget(rng, row, problem.start) for row in more)]
    return Problem(problem.value, cost, np.array(budget), problem.start, problem.label)
