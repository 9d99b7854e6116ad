"""Certifies an answer: what is proved of it, and on what ground."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from .answer import Answer, Status
from .bounds.bound import best_price, farkas_price
from .bounds.exact_sums import chosen_total
from .bounds.gap import difference, dual_gap, rounding_of, same_to_rounding
from .bounds.lagrangian import lagrangian_bound
from .bounds.normal_form import normalise
from .core.reduction import reduce
from .errors import SolverFailure
from .solution import GROUND_DUAL, GROUND_NONE, Certificate, search_ground

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .problem.problem import Problem


def certificate_of(
    problem: Problem, answer: Answer, solver: str, *, witness: bool, deadline: float = math.inf
) -> Certificate:
    """Establish what is proved of an answer whose selection, if any, is within the budgets.

    Parameters
    ----------
    problem
        The problem.
    answer
        What the solver claims.
    solver
        Its name, for the error.
    witness
        Whether to compare a claim of completeness with the selection that the reduction finds. The solvers of this
        package do that themselves. Problems with rows are left out, since the reduction ignores rows.
    deadline
        `time.perf_counter` reading after which no price is looked for: any price proves a bound.

    Returns
    -------
    certificate
        OPTIMAL where the Lagrangian bound meets the value or the solver exhausted the search, FEASIBLE otherwise;
        INFEASIBLE where a Farkas price or an exhausted search says so, UNKNOWN otherwise.

    Raises
    ------
    SolverFailure
        When the solver says that nothing is feasible, or nothing better, although such a selection is known.
    """
    if answer.choice is None:
        return _without_selection(problem, answer, solver, deadline)
    value = total_value(problem, answer.choice)
    price, split = _sound_price(problem, answer.price, deadline), _sound_split(problem, answer.split)
    gap = dual_gap(problem, answer.choice, price, split)
    bound = min(gap.bound, value)
    tolerance = gap.tolerance + rounding_of(value)
    if answer.complete and witness and problem.rows is None and problem.pairs is None:
        known = reduce(normalise(problem).problem, deadline=deadline).incumbent
        allowed = max(same_to_rounding(problem), answer.resolution)
        if known is not None and difference(problem, known, answer.choice) > allowed:
            raise SolverFailure(
                f"{solver} says that nothing is better than {value}, but there is a selection worth "
                f"{total_value(problem, known)}"
            )
    if gap.closed and value - bound <= tolerance:
        return Certificate(Status.OPTIMAL, GROUND_DUAL, price, bound, tolerance, value, split)
    if answer.complete:
        ground = search_ground(answer.exhausted_by or solver)
        return Certificate(Status.OPTIMAL, ground, price, bound, max(tolerance, answer.resolution), value, split)
    return Certificate(Status.FEASIBLE, GROUND_NONE, price, bound, tolerance, value, split)


def _without_selection(problem: Problem, answer: Answer, solver: str, deadline: float) -> Certificate:
    ground = search_ground(answer.exhausted_by or solver) if answer.complete else GROUND_NONE
    certificate = certify_infeasible(problem, ground, deadline)
    if certificate.ground == GROUND_DUAL:
        return certificate
    if not answer.complete:
        price = _sound_price(problem, answer.price, deadline)
        return Certificate(Status.UNKNOWN, GROUND_NONE, price, lagrangian_bound(problem, price), 0.0)
    if problem.rows is None and reduce(normalise(problem).problem, deadline=deadline).incumbent is not None:
        raise SolverFailure(f"{solver} says that no selection is within every budget, but there is one")
    return certificate


def certify_infeasible(problem: Problem, ground: str, deadline: float = math.inf) -> Certificate:
    """Infeasibility by a Farkas price where one is found in time, else on the ground given."""
    price = farkas_price(problem, deadline)
    if price is not None:
        return Certificate(Status.INFEASIBLE, GROUND_DUAL, price, math.inf, 0.0)
    return Certificate(Status.INFEASIBLE, ground, np.zeros(problem.n_resources), math.inf, 0.0)


def _sound_price(problem: Problem, price: NDArray[np.float64] | None, deadline: float) -> NDArray[np.float64]:
    if price is None:
        return _best_price(problem, deadline)
    sound = np.asarray(price, dtype=np.float64)
    if sound.shape != (problem.n_resources,) or not all(0 <= each < math.inf for each in sound.tolist()):
        return _best_price(problem, deadline)
    return sound


def _best_price(problem: Problem, deadline: float) -> NDArray[np.float64]:
    normal = normalise(problem)
    return normal.price(best_price(normal.problem, deadline=deadline))


def total_value(problem: Problem, choice: NDArray[np.int64]) -> float:
    """The sum of the chosen values, rounded once."""
    return chosen_total(problem.value, choice) if problem.pairs is None else math.fsum(problem.terms(choice))


def _sound_split(problem: Problem, split: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
    if problem.pairs is None or split is None:
        return None
    sound = np.asarray(split, dtype=np.float64)
    return sound if sound.shape == (problem.n_groups, problem.n_choices) and np.isfinite(sound).all() else None
