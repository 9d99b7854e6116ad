"""Calls general solvers for problems with further rows, with bounds that shrink the model.

Rows spoil dominance, and the reduction's incumbents may break them. What stays valid is the Lagrangian bound without
the rows, and with it the reduced costs: once a selection is known that satisfies the rows, choices whose reduced cost
exceeds its gap are dropped, and the model is stated anew in units of that gap.
"""

from __future__ import annotations

import dataclasses
import math
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ..answer import Answer
from ..bounds.bound import best_price
from ..bounds.exact_sums import chosen_total
from ..bounds.lagrangian import EPS
from ..core.reduction import Core, gap_of
from .gap_units import gap_model
from .solving import search, solve_raw, solve_reduced

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ..problem.problem import Problem
    from ..problem.rows import IntegerRow, Rows
    from ..watching import NormalWatch
    from .backend_model import Backend, Outcome

_SHARP = 1e-13  # a resolution below this share of the values chosen is fine enough
_ROUNDS = 3


def solve_general(
    problem: Problem,
    backend: Backend,
    seconds: float,
    warm: NDArray[np.int64] | None,
    *,
    reduced: bool,
    floating: bool,
    watch: NormalWatch | None = None,
) -> Answer:
    """Give a general solver the core of a problem, a model that keeps its rows, or the problem as it stands.

    Parameters
    ----------
    problem
        The problem.
    backend
        Minimises a model.
    seconds
        Wall time for all of it.
    warm
        ``(n_groups,)`` int64 positions to start from, or None.
    reduced
        False gives it the problem as it stands.
    floating
        Whether it works in floating point, with tolerances: what it claims of its search is then no proof by itself.
    watch
        Is told of better selections, by a backend that can, or None.

    Returns
    -------
    answer
        What the backend claims, in positions of the problem.
    """
    if not reduced:
        return solve_raw(problem, backend, seconds, warm)
    if problem.rows is None:
        answer = solve_reduced(problem, backend, seconds, warm, watch)
    else:
        answer = _solve_rows(problem, problem.rows, backend, seconds, warm, watch)
    return dataclasses.replace(answer, floating=floating and not answer.exhausted_by)


def _solve_rows(
    problem: Problem,
    rows: Rows,
    backend: Backend,
    seconds: float,
    warm: NDArray[np.int64] | None,
    watch: NormalWatch | None,
) -> Answer:
    deadline = time.perf_counter() + seconds
    price = best_price(problem, deadline=deadline)
    best = None if warm is None else _sound(problem, rows, warm, None)
    whole = _everything(problem, price)
    stats: dict[str, Any] = {"selections_cut_off": 0}
    complete, resolution = False, 0.0
    for _ in range(_ROUNDS):
        gap = math.inf if best is None else gap_of(problem, best[0], whole.position[whole.start[:-1]], price)
        core = _below(whole, gap + _noise(whole, price))
        noise = _noise(core, price)
        model, unit = gap_model(core, price, gap, None if best is None else best[0])
        mapped = _mapped(rows, core, problem.n_choices)
        if mapped is None or gap <= noise:  # nothing else satisfies the rows, or nothing is better
            complete, resolution = True, noise
            break
        model = dataclasses.replace(model, rows=mapped, n_auxiliary=rows.n_auxiliary, heard=_heard(watch, core, price))
        outcome, model = search(model, backend, deadline, partial(_is_sound, problem, rows, core))
        stats |= {"core_choices": len(core.position), "claimed": outcome.claimed}
        stats["selections_cut_off"] += len(model.forbidden)
        if outcome.choice is not None:
            found = _sound(problem, rows, core.position[outcome.choice], outcome.auxiliary)
            value = problem.value
            if found is not None and (best is None or chosen_total(value, found[0]) < chosen_total(value, best[0])):
                best = found
        if outcome.interrupted:
            stats["interrupted"] = True
        if not outcome.complete or (watch is not None and watch.over):
            break
        complete, resolution = True, max(noise, outcome.resolution * unit)
        if best is None or resolution <= _SHARP * math.fsum(np.abs(problem.value[best[0]]).tolist()):
            break
    if best is None:
        return Answer(None, complete, price, stats=stats)
    return Answer(best[0], complete, price, resolution, stats, auxiliary=best[1])


def _heard(
    watch: NormalWatch | None, core: Core, price: NDArray[np.float64]
) -> Callable[[NDArray[np.int64]], bool] | None:
    """Tells a watch of selections of a core that holds all groups."""
    return None if watch is None else lambda choice: watch.found(core.position[choice], price)


def _sound(
    problem: Problem, rows: Rows, choice: NDArray[np.int64], auxiliary: NDArray[np.int64] | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """A selection with its auxiliary binaries where it is within every budget and row."""
    if (problem.cost[:, choice].sum(axis=1) > problem.budget).any():
        return None
    allowed = rows.allow(problem.n_choices, choice, auxiliary)
    return None if allowed is None else (choice, allowed)


def _is_sound(problem: Problem, rows: Rows, core: Core, outcome: Outcome) -> bool:
    if outcome.choice is None:
        return False
    return _sound(problem, rows, core.position[outcome.choice], outcome.auxiliary) is not None


def _everything(problem: Problem, price: NDArray[np.float64]) -> Core:
    """All choices of all groups, relative to the cheapest ones at the price."""
    penalised = problem.value + price @ problem.cost
    order = np.lexsort((penalised, problem.group))
    reference = order[problem.start[:-1]]
    value = problem.value[order] - problem.value[reference][problem.group]
    cost = problem.cost[:, order] - problem.cost[:, reference][:, problem.group]
    return Core(
        group=np.arange(problem.n_groups),
        start=problem.start,
        position=order,
        value=value,
        cost=cost,
        reduced=np.maximum(value + price @ cost, 0.0),
        slack=tuple(
            int(limit) - int(used)
            for limit, used in zip(problem.budget, problem.cost[:, reference].sum(axis=1), strict=True)
        ),
    )


def _below(whole: Core, limit: float) -> Core:
    """The choices whose reduced cost does not exceed a limit; the reference of a group never does."""
    keep = whole.reduced <= limit
    return dataclasses.replace(
        whole,
        start=np.append(0, np.cumsum(np.add.reduceat(keep, whole.start[:-1], dtype=np.int64))),
        position=whole.position[keep],
        value=whole.value[keep],
        cost=whole.cost[:, keep],
        reduced=whole.reduced[keep],
    )


def _noise(core: Core, price: NDArray[np.float64]) -> float:
    size = np.abs(core.value) + price @ np.abs(core.cost)
    return 4 * EPS * float(np.maximum.reduceat(size, core.start[:-1]).sum())


def _mapped(rows: Rows, core: Core, n_choices: int) -> tuple[IntegerRow, ...] | None:
    """The rows over the choices that are left; None where one of them cannot be satisfied any more."""
    place = np.full(n_choices + rows.n_auxiliary, -1, dtype=np.int64)
    place[core.position] = np.arange(len(core.position))
    place[n_choices:] = len(core.position) + np.arange(rows.n_auxiliary)
    found = []
    for row in rows.each():
        left = place[row.index] >= 0
        if left.any():
            found.append(dataclasses.replace(row, index=place[row.index[left]], coefficient=row.coefficient[left]))
        elif (row.lower is not None and row.lower > 0) or (row.upper is not None and row.upper < 0):
            return None
    return tuple(found)
