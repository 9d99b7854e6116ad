"""Decides whose exhausted search a proof may rest on: the one place that every solver's claim passes.

A general solver in floating point holds rows, integrality and the objective to tolerances, and prunes by them. That its
search was exhausted has been the word of CBC, HiGHS and SCIP on selections that were not optimal, even with costs below
60; and CBC says "infeasible" when its time ends in preprocessing. So their word is kept in ``stats["claimed"]``, and
the proof is made by a witness in the time that is left: a search of our own, or CP-SAT where there are further rows.

Searches of our own compare sums that are rounded. Where values are whole multiples of a unit, and the rounding of a
search is not below it, what is left near the best selection is enumerated, or the proof is given up.
"""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

import numpy as np

from .backends.cp_sat import CpSat
from .bounds.bound import best_price
from .bounds.gap import difference, dual_gap, whole_unit
from .bounds.lagrangian import EPS, charge
from .bounds.normal_form import normalise
from .errors import missing
from .methods.exact import Enumerate, Exact

if TYPE_CHECKING:
    from .answer import Answer, Solver
    from .problem.problem import Problem


def witnessed(problem: Problem, answer: Answer, seed: int, deadline: float) -> Answer:
    """The answer, complete only where that can be a ground for a proof.

    Parameters
    ----------
    problem
        The problem.
    answer
        A solver's answer in positions of the problem, within the budgets and rows.
    seed
        As for `solve`.
    deadline
        `time.perf_counter` reading at which to stop.

    Returns
    -------
    answer
        With the name of the witness in `exhausted_by`, and its selection where that is better.
    """
    if answer.complete and answer.floating:
        answer = _searched_again(problem, answer, seed, deadline)
    if answer.complete and answer.choice is not None and answer.resolution > 0:
        unit = whole_unit(problem) if problem.pairs is None else 0.0
        if unit and answer.resolution >= unit:
            return _told_apart(problem, answer, deadline)
    return answer


def _searched_again(problem: Problem, answer: Answer, seed: int, deadline: float) -> Answer:
    """The answer with another solver's proof, where that finds one in time."""
    claim = dataclasses.replace(answer, complete=False, floating=False)
    witness: Solver = Exact() if problem.rows is None else CpSat()
    left = deadline - time.perf_counter()
    if left <= 0 or missing(witness.requires or "numpy") is not None or witness.supports(problem) is not None:
        return claim
    normal = normalise(problem)
    try:
        found = witness(normal.problem, seconds=left, seed=seed, warm=answer.choice)
    except KeyboardInterrupt:
        return dataclasses.replace(claim, stats={**claim.stats, "interrupted": True})
    found = normal.restore(found)
    stats = dict(answer.stats)
    if found.stats.get("interrupted"):
        stats["interrupted"] = True
    better = found.choice is not None and (
        answer.choice is None or difference(problem, found.choice, answer.choice) > 0
    )
    best = found if better else answer
    if better:
        stats["claim_refuted"] = True
    return dataclasses.replace(
        best,
        complete=found.complete and (found.choice is not None or answer.choice is None),
        price=answer.price if found.price is None else found.price,
        resolution=found.resolution,
        stats=stats,
        figures=answer.figures,
        differences=answer.differences,
        exhausted_by=found.exhausted_by or witness.name,
        floating=False,
    )


def _told_apart(problem: Problem, answer: Answer, deadline: float) -> Answer:
    """The answer with the best of what is so near to it that rounding hid it, or without its claim.

    Only choices whose reduced cost is within the gap, by exact bounds on rounding, can be part of anything better; the
    selections that they make are tried one by one where they are few.
    """
    unproved = dataclasses.replace(answer, complete=False, stats={**answer.stats, "claimed": "optimal, to rounding"})
    if answer.choice is None:
        return unproved
    normal = normalise(problem).problem
    if problem.rows is not None:  # the reduced costs know nothing of rows: all selections are tried, or none
        if Enumerate().supports(normal) is not None:
            return unproved
        found = Enumerate()(normal, seconds=max(deadline - time.perf_counter(), 0.0), seed=0, warm=None)
        if not found.complete or found.choice is None or found.resolution > 0:
            return unproved
        if difference(problem, found.choice, answer.choice) <= 0:
            return dataclasses.replace(answer, resolution=0.0)
        auxiliary = problem.rows.allow(problem.n_choices, found.choice)
        return dataclasses.replace(answer, choice=found.choice, auxiliary=auxiliary, resolution=0.0)
    price = best_price(normal)
    gap = dual_gap(normal, answer.choice, price)
    if gap.closed:
        return answer
    begin, group = normal.start[:-1], normal.group
    penalised = normal.value + charge(price, normal.cost)
    slip = 4 * (normal.n_resources + 3) * EPS * (np.abs(normal.value) + charge(price, normal.cost))
    least = np.minimum.reduceat(penalised + slip, begin)
    keep = penalised - slip - least[group] <= gap.size * (1 + 4 * EPS)
    keep[answer.choice] = True
    position = np.flatnonzero(keep)
    counts = np.add.reduceat(keep, begin, dtype=np.int64)
    near = type(problem)(
        normal.value[position],
        normal.cost[:, position],
        normal.budget,
        np.append(0, np.cumsum(counts)),
        position,
    )
    left = deadline - time.perf_counter()
    if left <= 0 or Enumerate().supports(near) is not None:
        return unproved
    try:
        found = Enumerate()(near, seconds=left, seed=0, warm=None)
    except KeyboardInterrupt:
        return dataclasses.replace(unproved, stats={**unproved.stats, "interrupted": True})
    if not found.complete or found.choice is None or found.resolution > 0:
        return unproved
    choice = position[found.choice]
    if difference(problem, choice, answer.choice) <= 0:
        choice = answer.choice
    return dataclasses.replace(answer, choice=choice, resolution=0.0)
