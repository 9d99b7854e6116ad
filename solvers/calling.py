"""Calls a solver and checks its answer: budgets and rows in exact integers, and against the warm start."""

from __future__ import annotations

import dataclasses
import math
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from .answer import Answer
from .bounds.bound import farkas_price
from .bounds.gap import difference, same_to_rounding
from .bounds.normal_form import normalise
from .certify import total_value
from .core.reduction import reduce
from .errors import InvalidProblem, SolverFailure, SolverUnavailable
from .methods.seeding import allows, better_of, seed_of
from .watching import can_be_watched

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .answer import Solver
    from .problem.problem import Problem
    from .problem.rows import Rows
    from .watching import Watch


_FEW = 16  # with more budgets selections are hard to find, so that they are sought before the search begins
_LEAST_SECONDS = 0.001  # that a solver is given
_KNOWN_WITHIN = 0.3  # seconds for a selection when the user interrupts before there is any


def call(
    problem: Problem,
    solver: Solver,
    seconds: float,
    seed: int,
    warm: NDArray[np.int64] | None,
    *,
    seeded: bool = False,
    watch: Watch | None = None,
) -> Answer:
    """Call a solver; its answer is within the budgets and rows, and no worse than the warm start.

    Parameters
    ----------
    problem
        A problem in which every budget by itself can be met.
    solver
        The solver; it sees the problem in its normal form.
    seconds, seed
        As for `solve`.
    warm
        ``(n_groups,)`` int64 positions of a selection to start from, or None.
    seeded
        Whether the answer shall also be no worse than what relax and greedy find. With more than 16 budgets these are
        asked first and the solver starts from what they found; otherwise they are asked where it proved nothing.
    watch
        Is told of better selections, by a solver that can, or None.

    Returns
    -------
    answer
        Its selection in positions of `problem`. What it claims of optimality is still a claim.

    Raises
    ------
    KeyboardInterrupt
        When the user interrupts before any selection is known.
    SolverFailure
        When the solver crashes, returns what is no selection, exceeds a budget twice, breaks a row, or claims to be
        complete and misses the warm start.
    """
    deadline = time.perf_counter() + seconds
    start = warm
    if seeded and problem.n_resources > _FEW:
        try:
            start = better_of(problem, warm, seed_of(problem, deadline))
            if start is None and farkas_price(problem, deadline) is not None:
                return Answer(None, complete=True)
        except KeyboardInterrupt:
            return _or_interrupt(dataclasses.replace(_known(problem, warm), stats={"interrupted": True}))
        if time.perf_counter() > deadline:
            return _no_worse_than(problem, Answer(None), start, solver.name)
    answer = _within_budget(problem, solver, deadline, seed, start, watch)
    interrupted = bool(answer.stats.get("interrupted"))
    if seeded and problem.n_resources <= _FEW and not answer.complete and (answer.choice is None or not interrupted):
        try:
            start = better_of(problem, warm, seed_of(problem, deadline))
        except KeyboardInterrupt:
            answer = dataclasses.replace(answer, stats={**answer.stats, "interrupted": True})
    return _or_interrupt(_no_worse_than(problem, answer, start, solver.name))


def _or_interrupt(answer: Answer) -> Answer:
    """The answer, unless the user interrupted before there was any selection."""
    if answer.choice is None and answer.stats.get("interrupted"):
        raise KeyboardInterrupt
    return answer


def _within_budget(
    problem: Problem,
    solver: Solver,
    deadline: float,
    seed: int,
    warm: NDArray[np.int64] | None,
    watch: Watch | None,
) -> Answer:
    """The solver's answer; where it is over budget, the solver is called once more with a tighter budget."""
    answer = _call_once(problem, solver, deadline, seed, warm, watch)
    if _is_within(problem, answer):
        return answer
    excess = _excess(problem, answer)
    if answer.stats.get("interrupted"):
        return dataclasses.replace(_known(problem, warm), stats=answer.stats)
    tighter = np.maximum(problem.budget - excess, 0)
    again = Answer(None)
    if (tighter >= problem.least_cost).all():
        again = _call_once(problem.with_budget(tighter), solver, deadline, seed, None)
    if again.choice is None or not _is_within(problem, again):
        resource = int(np.argmax(excess))
        raise SolverFailure(
            f"{solver.name} exceeds budget[{resource}] = {problem.budget[resource]} by {excess[resource]} and does no "
            "better when its budget is tightened: its tolerances are too coarse for this problem; use 'exact'"
        )
    # The tighter problem may have cut the best selection off, so what the search says of it proves nothing here.
    return dataclasses.replace(again, complete=False, stats={**again.stats, "tightened": True})


def _call_once(
    problem: Problem,
    solver: Solver,
    deadline: float,
    seed: int,
    warm: NDArray[np.int64] | None,
    watch: Watch | None = None,
) -> Answer:
    normal = normalise(problem)
    seconds = max(deadline - time.perf_counter(), _LEAST_SECONDS)
    try:
        if watch is not None and can_be_watched(solver):
            answer = solver.watched(normal.problem, seconds=seconds, seed=seed, warm=warm, watch=watch.within(normal))
        else:
            answer = solver(normal.problem, seconds=seconds, seed=seed, warm=warm)
    except KeyboardInterrupt:
        return dataclasses.replace(_known(problem, warm), stats={"interrupted": True})
    except (InvalidProblem, SolverUnavailable):
        raise
    except Exception as error:
        raise SolverFailure(f"{solver.name} failed: {type(error).__name__}: {error}") from error
    if not isinstance(answer, Answer):
        raise SolverFailure(f"{solver.name} returned a {type(answer).__name__} instead of an Answer")
    if not 0 <= answer.resolution < math.inf:
        raise SolverFailure(f"{solver.name} returned the resolution {answer.resolution}: it must be finite, at least 0")
    if answer.choice is not None:
        _check_selection(problem, solver.name, answer.choice)
    answer = normal.restore(answer)
    if answer.choice is not None and problem.rows is not None:
        return dataclasses.replace(answer, auxiliary=_auxiliary(problem.rows, problem, answer, solver.name))
    return answer


def _known(problem: Problem, warm: NDArray[np.int64] | None) -> Answer:
    """What is known without the solver: the reduction's selection, or with further rows the warm start."""
    if problem.rows is None:
        return Answer(reduce(normalise(problem).problem, warm, time.perf_counter() + _KNOWN_WITHIN).incumbent)
    if warm is None or not allows(problem, warm):
        return Answer(None)
    return Answer(warm, auxiliary=problem.rows.allow(problem.n_choices, warm))


def _auxiliary(rows: Rows, problem: Problem, answer: Answer, name: str) -> NDArray[np.int64]:
    """The auxiliary binaries with which an answer satisfies every row, in exact integers."""
    given = answer.auxiliary
    if given is not None and (given.shape != (rows.n_auxiliary,) or ((given != 0) & (given != 1)).any()):
        raise SolverFailure(f"{name} returned {given.tolist()} for {rows.n_auxiliary} auxiliary binaries")
    allowed = rows.allow(problem.n_choices, np.asarray(answer.choice), given)
    if allowed is None:
        raise SolverFailure(
            f"{name} returned a selection that breaks one of the {rows.n_rows} rows, with the auxiliary binaries that "
            "it gave or any that were tried: its tolerances are too coarse for this problem; use 'cp_sat'"
        )
    return allowed


def _check_selection(problem: Problem, name: str, choice: NDArray[Any]) -> None:
    try:
        found = np.asarray(choice)
    except ValueError as error:
        raise SolverFailure(f"{name} returned a selection that is no array: {error}") from error
    if found.shape != (problem.n_groups,) or found.dtype.kind not in "iu":
        raise SolverFailure(
            f"{name} returned a selection of shape {found.shape} and type {found.dtype}: "
            f"expected {problem.n_groups} integer positions, one for each group"
        )
    wrong = (choice < problem.start[:-1]) | (choice >= problem.start[1:])
    if wrong.any():
        group = int(np.argmax(wrong))
        raise SolverFailure(
            f"{name} returned position {choice[group]} for group {group}, which owns "
            f"{problem.start[group]} to {problem.start[group + 1] - 1}"
        )


def _is_within(problem: Problem, answer: Answer) -> bool:
    """Whether the selection, if any, is within every budget."""
    if answer.choice is None:
        return True
    used = problem.cost[:, answer.choice].sum(axis=1).tolist()
    return all(own <= limit for own, limit in zip(used, problem.budget.tolist(), strict=True))


def _excess(problem: Problem, answer: Answer) -> NDArray[np.int64]:
    """``(n_resources,)`` by how much each budget is exceeded."""
    over: NDArray[np.int64] = problem.cost[:, answer.choice].sum(axis=1) - problem.budget
    return np.maximum(over, 0)


def _no_worse_than(problem: Problem, answer: Answer, warm: NDArray[np.int64] | None, name: str) -> Answer:
    """The answer, or the warm start where that is better; a search that claims to be complete must not miss it."""
    if warm is None or answer.restricted or not allows(problem, warm):
        return answer
    auxiliary = None if problem.rows is None else problem.rows.allow(problem.n_choices, warm)
    given = total_value(problem, warm)
    found = math.inf if answer.choice is None else total_value(problem, answer.choice)
    if found <= given:
        return answer
    missed = math.inf if answer.choice is None else difference(problem, warm, answer.choice)
    if answer.floating:
        answer = dataclasses.replace(answer, complete=False)
    if answer.complete and missed > max(answer.resolution, same_to_rounding(problem)):
        raise SolverFailure(f"{name} says that nothing is better than {found}, but the warm start is worth {given}")
    return dataclasses.replace(answer, choice=warm, auxiliary=auxiliary)
