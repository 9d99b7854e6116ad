"""What is asked of a solver of the comparison, and its process: see `mckp_quant.bench.worker`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from mckp_quant.bench import worker
from mckp_quant.bench.worker import Record, exact_value, over_budget
from mckp_quant.solvers import SolverFailure, Status, front, solve

from .library import library
from .raw import RAW

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from mckp_quant.solvers import Problem, Solution


def run(solver: str, problem: Problem, seconds: float) -> Callable[[], Record]:
    """Solve once, and return what then says what was said, in plain types, without the times."""
    if solver == "front":
        points = front(problem)
        return lambda: {"claim": "exact", "value": float(points.value[-1]), "points": len(points), "excess": 0}
    if solver in RAW:
        said = RAW[solver](problem, seconds)
        return partial(_record, problem, "optimal" if said.optimal else "feasible", said.choice, None)
    try:
        solution = solve(problem, solver, seconds=seconds)
    except SolverFailure as error:
        refused = {"claim": "refused", "note": str(error)}
        return lambda: refused
    claim = "optimal" if solution.status is Status.OPTIMAL else "feasible"
    return partial(_record, problem, claim, None, solution)


def _record(problem: Problem, claim: str, choice: NDArray[np.int64] | None, solution: Solution | None) -> Record:
    if solution is not None and solution.choice is not None:
        choice = problem.position(solution.choice)
    if choice is None:
        return {"claim": "none"}
    value = exact_value(problem, choice)
    own = {} if solution is None else {"value": solution.value, "bound": solution.bound}
    return {"claim": claim, "value": value, **own, "excess": over_budget(problem, choice)}


def make(folder: Path | None, instance: str) -> Problem:
    """An instance of the library, from its name."""
    return library(folder)[instance].make()


class Worker(worker.Worker):
    """A process for one solver of the comparison on instances of the library."""

    def __init__(self, solver: str, folder: Path | None) -> None:
        super().__init__(partial(run, solver), partial(make, folder))
