"""Adapter to OR-Tools CP-SAT."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..errors import require
from ..problem.arguments import check_whole
from ..problem.supports import no_pairs
from ..system.interrupt import OutOfTime, interruptible, silenced
from .backend_model import BackendModel, Outcome
from .row_model import solve_general

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ..answer import Answer
    from ..problem.problem import Problem
    from ..watching import NormalWatch

_OBJECTIVE_BITS = 50  # CP-SAT minimises integers: the largest values of all groups add up to about 2**50
_LARGEST_SUM = 2**61  # beyond this CP-SAT refuses a linear constraint
# Presolving lost optima and called the rest optimal (9.15, found at random, once in some 1,000 small problems with
# costs of 2**30). The step that merges "exactly one" with rows does so (google/or-tools issue 5293), so it gets no
# work; and with costs beyond this, where more was found, there is no presolving at all.
_PRESOLVED_BELOW = 2**30
_INCLUSION_WORK = 0


@dataclasses.dataclass(frozen=True)
class CpSat:
    """OR-Tools CP-SAT on the core, its values scaled to integers of 50 bits.

    Attributes
    ----------
    threads
        Workers; with more than one the selection among equals may differ from run to run.
    reduce
        False gives CP-SAT the whole problem; its status is then kept in ``stats["claimed"]`` and proves nothing.
    """

    threads: int = 1
    reduce: bool = True
    name: ClassVar[str] = "cp_sat"
    requires: ClassVar[str | None] = "ortools"
    reference: ClassVar[str] = "Perron and Didier, CP-SAT, https://developers.google.com/optimization/cp/cp_solver"

    def __post_init__(self) -> None:
        """Refuse a thread count that CP-SAT would read as 'all'."""
        check_whole("threads", self.threads, 1)

    def supports(self, problem: Problem) -> str | None:
        """Give the reason why not, or None: no pairwise terms, and no costs whose sum needs more than 61 bits."""
        if problem.pairs is not None:
            return no_pairs(problem, self.name)
        largest = np.maximum.reduceat(problem.cost, problem.start[:-1], axis=1).sum(axis=1, dtype=np.float64)
        if float(largest.max()) >= _LARGEST_SUM:
            return f"cp_sat takes costs that add up to less than 2**61, not {largest.max():.3g}: choose a larger unit"
        for number, row in enumerate(() if problem.rows is None else problem.rows.each()):
            total = sum(abs(each) for each in row.coefficient.tolist())
            if total >= _LARGEST_SUM:
                return f"cp_sat takes rows whose coefficients add up to less than 2**61, row {number} to {total:.3g}"
        return None

    def __call__(self, problem: Problem, *, seconds: float, seed: int, warm: NDArray[np.int64] | None) -> Answer:
        """Solve."""
        return self.watched(problem, seconds=seconds, seed=seed, warm=warm, watch=None)

    def watched(
        self,
        problem: Problem,
        *,
        seconds: float,
        seed: int,
        warm: NDArray[np.int64] | None,
        watch: NormalWatch | None,
    ) -> Answer:
        """Solve, and tell of every better selection; stop where that is enough. The raw problem is not watched."""
        minimise = partial(self._minimise, seed)
        return solve_general(problem, minimise, seconds, warm, reduced=self.reduce, floating=False, watch=watch)

    def _minimise(self, seed: int, model: BackendModel, seconds: float) -> Outcome:
        deadline = time.perf_counter() + seconds
        cp_model = require("ortools.sat.python.cp_model", None)
        cp = cp_model.CpModel()
        n = len(model.value)
        binary = [cp.new_bool_var("") for _ in range(n + model.n_auxiliary)]
        x = binary[:n]
        for first, last in zip(model.start[:-1], model.start[1:], strict=True):
            cp.add_exactly_one(x[first:last])
        for row, left in zip(model.cost, model.slack, strict=True):
            if time.perf_counter() > deadline:
                raise OutOfTime("the model takes longer to build than there is time")
            cp.add(cp_model.LinearExpr.weighted_sum(x, row.tolist()) <= left)
        for row in model.rows:
            activity = cp_model.LinearExpr.weighted_sum(
                [binary[index] for index in row.index], row.coefficient.tolist()
            )
            cp.add_linear_constraint(
                activity,
                cp_model.INT_MIN if row.lower is None else row.lower,
                cp_model.INT_MAX if row.upper is None else row.upper,
            )
        for pattern in model.forbidden:
            cp.add_bool_or([*(~binary[index] for index in pattern.ones), *(binary[index] for index in pattern.zeros)])
        objective, resolution = _objective(model)
        cp.minimize(cp_model.LinearExpr.weighted_sum(x, objective))
        if model.hint is not None:
            hinted = set(model.hint.tolist())
            for index, variable in enumerate(x):
                cp.add_hint(variable, int(index in hinted))
        solver = cp_model.CpSolver()
        solver.parameters.max_time_in_seconds = max(deadline - time.perf_counter(), 0.0)
        solver.parameters.num_workers = self.threads
        solver.parameters.random_seed = seed % 2**31
        solver.parameters.cp_model_presolve = _largest_cost(model) < _PRESOLVED_BELOW
        solver.parameters.presolve_inclusion_work_limit = _INCLUSION_WORK
        solver.parameters.catch_sigint_signal = False  # its own handler hangs where another thread gets the signal
        listener = None if model.heard is None else _listener(cp_model, x, model.heard)
        with silenced() if listener is None else contextlib.nullcontext():  # who listens may print
            run = partial(solver.solve, cp, listener)
            status, interrupted = interruptible(run, solver.stop_search, deadline=deadline)
        word = solver.status_name(status)
        complete = status in (cp_model.OPTIMAL, cp_model.INFEASIBLE)
        if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            return Outcome(None, complete, word, interrupted=interrupted)
        ones = np.array([solver.boolean_value(variable) for variable in binary], dtype=np.int64)
        return Outcome(
            np.flatnonzero(ones[:n]),
            complete,
            word,
            resolution=resolution,
            auxiliary=ones[n:],
            interrupted=interrupted,
        )


def _listener(cp_model: Any, x: list[Any], heard: Callable[[NDArray[np.int64]], bool]) -> Any:
    """A callback of CP-SAT for every selection that it finds; it stops the search where that is enough."""

    class Listener(cp_model.CpSolverSolutionCallback):  # type: ignore[misc]
        def on_solution_callback(self) -> None:
            chosen = np.flatnonzero([self.boolean_value(variable) for variable in x])
            if heard(chosen):
                self.stop_search()

    return Listener()


def _largest_cost(model: BackendModel) -> int:
    rows: list[int] = [abs(each) for row in model.rows for each in row.coefficient.tolist()]
    return max(int(np.abs(model.cost).max(initial=0)), *rows, 0)


def _objective(model: BackendModel) -> tuple[list[int], float]:
    """Integers to minimise, and how finely they tell selections apart: exactly where the values are whole."""
    if model.whole is not None:
        return model.whole.tolist(), 0.0
    scale = _scale(model)
    # Half a unit for each group of two selections, and the rounding of values on the way to gap units.
    return [round(value * scale) for value in model.value.tolist()], (model.n_groups + 1) / scale


def _scale(model: BackendModel) -> float:
    """A power of two that spreads the values over the integers that CP-SAT is given."""
    largest = float(np.maximum.reduceat(np.abs(model.value), model.start[:-1]).sum())
    if largest == 0:
        return 1.0
    return math.ldexp(1.0, min(_OBJECTIVE_BITS - math.frexp(largest)[1], 1000))
