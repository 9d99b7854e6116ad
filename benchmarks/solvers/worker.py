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
    from pathlib import Path

    from mckp_quant.solvers import Problem


def run(solver: str, problem: Problem, seconds: float) -> Record:
    """Solve once; what was said, in plain types, without the times."""
    if solver == "front":
        points = front(problem)
        return {"claim": "exact", "value": float(points.value[-1]), "points": len(points), "excess": 0}
    if solver in RAW:
        said = RAW[solver](problem, seconds)
        if said.choice is None:
            return {"claim": "none"}
        return {
            "claim": "optimal" if said.optimal else "feasible",
            "value": exact_value(problem, said.choice),
            "excess": over_budget(problem, said.choice),
        }
    try:
        solution = solve(problem, solver, seconds=seconds)
    except SolverFailure as error:
        return {"claim": "refused", "note": str(error)}
    if solution.choice is None:
        return {"claim": "none"}
    claim = "optimal" if solution.status is Status.OPTIMAL else "feasible"
    excess = over_budget(problem, problem.position(solution.choice))
    return {"claim": claim, "value": solution.value, "bound": solution.bound, "excess": excess}


def make(folder: Path | None, instance: str) -> Problem:
    """An instance of the library, from its name."""
    return library(folder)[instance].make()


class Worker(worker.Worker):
    """A process for one solver of the comparison on instances of the library."""

    def __init__(self, solver: str, folder: Path | None) -> None:
        super().__init__(partial(run, solver), partial(make, folder))
