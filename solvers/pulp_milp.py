"""Adapter to PuLP with the CBC that it brings."""

from __future__ import annotations

import dataclasses
import warnings
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .core_model import CoreModel, Outcome, largest_in_group, solve_raw, solve_reduced
from .errors import InvalidProblem, require
from .milp import as_milp

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .problem import Problem
    from .solution import Answer

TOLERANCE = 1e-9  # what CBC is told to allow on rows and on integrality
FILE_PRECISION = 5e-13  # PuLP hands its models over in files, with thirteen digits a number


@dataclasses.dataclass(frozen=True)
class Pulp:
    """PuLP with CBC on the core in gap units, with gaps of 0 and tight tolerances.

    Attributes
    ----------
    threads
        Threads of CBC.
    reduce
        False gives CBC the whole problem at its default settings; its word is then kept in ``stats["claimed"]`` and
        not believed.
    """

    threads: int = 1
    reduce: bool = True
    name: ClassVar[str] = "pulp"
    requires: ClassVar[str | None] = "pulp"
    reference: ClassVar[str] = "Mitchell, O'Sullivan and Dunning (2011), PuLP; Forrest et al., CBC"

    def __post_init__(self) -> None:
        """Refuse a thread count that CBC has no meaning for."""
        if self.threads < 1:
            raise InvalidProblem(f"threads = {self.threads}: it must be at least 1")

    def supports(self, problem: Problem) -> str | None:
        """Give the reason why not, or None: every problem is taken."""
        return None

    def __call__(self, problem: Problem, *, seconds: float, seed: int, warm: NDArray[np.int64] | None) -> Answer:
        """Solve."""
        run = solve_reduced if self.reduce else solve_raw
        return run(problem, partial(self._minimise, seed), seconds, warm)

    def _minimise(self, seed: int, model: CoreModel, seconds: float) -> Outcome:
        pulp = require("pulp", None)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # PuLP 3 announces the names of version 4
            return self._run(pulp, seed, model, seconds)

    def _run(self, pulp, seed: int, model: CoreModel, seconds: float) -> Outcome:  # type: ignore[no-untyped-def]
        milp = as_milp(model, TOLERANCE, FILE_PRECISION)
        n = milp.n_binary
        x = [
            pulp.LpVariable(f"x{index}", 0, 1 if index < n else None, "Binary" if index < n else "Continuous")
            for index in range(len(milp.objective))
        ]
        whole = pulp.LpProblem("core", pulp.LpMinimize)
        whole += pulp.LpAffineExpression(zip(x, milp.objective.tolist(), strict=True))
        for number, row in enumerate(milp.rows):
            terms = zip(row.index.tolist(), row.coefficient.tolist(), strict=True)
            expression = pulp.LpAffineExpression([(x[index], coefficient) for index, coefficient in terms])
            if row.lower == row.upper:
                whole += expression == row.lower, f"c{number}"
            elif np.isinf(row.lower):
                whole += expression <= row.upper, f"c{number}"
            else:
                whole += expression >= row.lower, f"c{number}"
        if model.hint is not None:
            hinted = set(model.hint.tolist())
            for index in range(n):
                x[index].setInitialValue(int(index in hinted))
        tight = [f"{name} {TOLERANCE:g}" for name in ("primalT", "dualT", "integerT", "increment")]
        whole.solve(
            pulp.PULP_CBC_CMD(
                msg=False,
                timeLimit=seconds,
                threads=self.threads,
                gapRel=0.0 if self.reduce else None,
                gapAbs=0.0 if self.reduce else None,
                warmStart=model.hint is not None,
                options=[f"randomSeed {seed % 2**31}", *(tight if self.reduce else [])],
            )
        )
        # `status` reads Optimal when CBC merely hit its time limit; `sol_status` tells the two apart.
        claimed = pulp.LpSolution[whole.sol_status]
        complete = whole.sol_status == pulp.LpSolutionOptimal or whole.status == pulp.LpStatusInfeasible
        if whole.sol_status not in (pulp.LpSolutionOptimal, pulp.LpSolutionIntegerFeasible):
            return Outcome(None, complete, claimed)
        values = np.array([variable.value() or 0.0 for variable in x[:n]])
        return Outcome(largest_in_group(model, values), complete, claimed, milp.resolution)
