"""The choices of a one-budget problem relative to a reference selection: what each adds to the bound."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from ..bounds.hull import undominated
from ..bounds.lagrangian import EPS
from ..core.incumbent import improve, repair
from ..core.reduction import gap_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..problem.problem import Problem


@dataclasses.dataclass(frozen=True, eq=False)
class Regrets:
    """The choices of a problem, relative to the cheapest selection at a price.

    `value`, `cost` and `reduced` are ``(n_choices,)``, `reference` is ``(n_groups,)`` positions, `slack` what the
    reference leaves of the budget. Every selection is worth ``value`` more than the reference; adding ``price *
    slack`` gives its distance from the Lagrangian bound.
    """

    price: float
    reference: NDArray[np.int64]
    value: NDArray[np.float64]
    cost: NDArray[np.int64]
    reduced: NDArray[np.float64]
    slack: int
    useful: NDArray[np.bool_]  # not dominated within the group


def regrets_of(problem: Problem, price: NDArray[np.float64]) -> Regrets:
    """All choices relative to the cheapest selection at a price, ``(1,)`` float64."""
    penalised = problem.value + price @ problem.cost
    least = np.minimum.reduceat(penalised, problem.start[:-1])
    at = np.where(penalised == least[problem.group], np.arange(problem.n_choices), problem.n_choices)
    reference = np.minimum.reduceat(at, problem.start[:-1])
    value = problem.value - problem.value[reference][problem.group]
    cost = problem.cost[0] - problem.cost[0, reference][problem.group]
    reduced = np.maximum(value + price[0] * cost, 0.0)
    slack = int(problem.budget[0]) - sum(problem.cost[0, reference].tolist())
    useful = np.zeros(problem.n_choices, dtype=bool)
    useful[undominated(problem.value, problem.cost[0], problem.start)] = True
    useful[reference] = True
    return Regrets(float(price[0]), reference, value, cost, reduced, slack, useful)


def noise_of(problem: Problem, relative: Regrets) -> float:
    """A few roundings of the largest term of each group."""
    terms = np.abs(relative.value) + relative.price * np.abs(relative.cost)
    return 4 * EPS * float(np.maximum.reduceat(terms, problem.start[:-1]).sum())


def highest_regret(problem: Problem, relative: Regrets) -> float:
    """An upper bound on how far any selection is above the Lagrangian bound."""
    unused = relative.slack + int(np.maximum.reduceat(-relative.cost, problem.start[:-1]).sum())
    dearest = float(np.maximum.reduceat(relative.reduced, problem.start[:-1]).sum())
    return (dearest + relative.price * max(unused, 0)) * (1 + 1e-9)


def first_limit(problem: Problem, relative: Regrets) -> float:
    """A limit slightly above the gap of a good selection; where that is 0, the least positive reduced cost."""
    price, allowed = np.array([relative.price]), np.flatnonzero(relative.useful)
    incumbent = repair(problem, relative.reference, price, allowed=allowed)
    positive = relative.reduced[relative.reduced > 0]
    limit = float(positive.min()) if len(positive) else 0.0
    if incumbent is not None:
        incumbent = improve(problem, incumbent, allowed=allowed)
        limit = max(limit, 1.1 * gap_of(problem, incumbent, relative.reference, price))
    return limit
