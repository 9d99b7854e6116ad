"""Adapter to SCIP, through PySCIPOpt."""

from __future__ import annotations

import dataclasses
import math
import time
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ..bounds.lagrangian import EPS
from ..errors import require
from ..problem.supports import no_pairs
from ..system.interrupt import OutOfTime, interruptible, silenced
from .backend_model import BackendModel, Outcome, largest_in_group
from .milp import as_milp
from .row_model import solve_general

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    from ..answer import Answer
    from ..problem.problem import Problem
    from .milp import Milp

# On rows and on integrality; SCIP tightens it by 1e-3 in its linear programmes, and below 1e-10 SoPlex writes a warning
# to standard error each time, and takes 1e-10. Rows are scaled so that a unit of cost is above it.
_TOLERANCE = 1e-7


@dataclasses.dataclass(frozen=True)
class Scip:
    """SCIP on the core in gap units, with gaps of 0 and tight tolerances; single-threaded.

    Attributes
    ----------
    reduce
        False gives SCIP the whole problem at its default settings; its status is then kept in ``stats["claimed"]``
        and proves nothing.
    """

    reduce: bool = True
    name: ClassVar[str] = "scip"
    requires: ClassVar[str | None] = "pyscipopt"
    reference: ClassVar[str] = (
        "Bestuzheva et al. (2023), Enabling research through the SCIP optimization suite 8.0, ACM Transactions on "
        "Mathematical Software 49, 1-21"
    )

    def supports(self, problem: Problem) -> str | None:
        """Give the reason why not, or None: every problem without pairwise terms is taken."""
        return no_pairs(problem, self.name)

    def __call__(self, problem: Problem, *, seconds: float, seed: int, warm: NDArray[np.int64] | None) -> Answer:
        """Solve."""
        return solve_general(problem, partial(self._minimise, seed), seconds, warm, reduced=self.reduce, floating=True)

    def _minimise(self, seed: int, model: BackendModel, seconds: float) -> Outcome:
        deadline = time.perf_counter() + seconds
        pyscipopt = require("pyscipopt", "scip", "'exact', 'cp_sat', 'highs' and 'pulp' work without it")
        milp = as_milp(model, _TOLERANCE, EPS)
        scip = pyscipopt.Model()
        scip.hideOutput()
        variables = _state(pyscipopt, scip, milp, deadline)
        if model.hint is not None:
            _give(scip, variables, model.hint, len(model.value))
        scip.setParams(self._parameters(seed, max(deadline - time.perf_counter(), 0.0)))
        with silenced():
            _, interrupted = interruptible(scip.optimizeNogil, scip.interruptSolve, deadline=deadline)
        claimed = scip.getStatus()
        complete = claimed in ("optimal", "infeasible")
        if scip.getNSols() == 0:
            return Outcome(None, complete, claimed, interrupted=interrupted)
        best = scip.getBestSol()
        x = np.array([scip.getSolVal(best, variable) for variable in variables[: milp.n_binary]])
        n = len(model.value)
        chosen = largest_in_group(model, x[:n])
        return Outcome(chosen, complete, claimed, milp.resolution, np.rint(x[n:]).astype(np.int64), interrupted)

    def _parameters(self, seed: int, seconds: float) -> dict[str, float | int | bool]:
        settings: dict[str, float | int | bool] = {
            "limits/time": min(seconds, 1e20),
            "randomization/randomseedshift": seed % 2**31,
            "misc/catchctrlc": False,  # Ctrl-C is heard by the thread that waits
        }
        if self.reduce:
            settings |= {"limits/gap": 0.0, "limits/absgap": 0.0}
            settings |= {"numerics/feastol": _TOLERANCE, "numerics/dualfeastol": _TOLERANCE}
        return settings


def _state(pyscipopt: Any, scip: Any, milp: Milp, deadline: float) -> list[Any]:
    """Put the programme into SCIP's terms; its variables."""
    variables = [
        scip.addVar(
            vtype="B" if index < milp.n_binary else "C", lb=0.0, ub=1.0 if index < milp.n_binary else None, obj=each
        )
        for index, each in enumerate(milp.objective.tolist())
    ]
    for row in milp.rows:
        if time.perf_counter() > deadline:
            raise OutOfTime("the model takes longer to build than there is time")
        terms = zip(row.index.tolist(), row.coefficient.tolist(), strict=True)
        total = pyscipopt.quicksum(coefficient * variables[index] for index, coefficient in terms)
        if row.lower == row.upper:
            scip.addCons(total == row.lower)
        elif math.isinf(row.lower):
            scip.addCons(total <= row.upper)
        else:
            scip.addCons(total >= row.lower)
    return variables


def _give(scip: Any, variables: list[Any], hint: NDArray[np.int64], n: int) -> None:
    """Offer a selection to start from; SCIP completes what is left open."""
    start = scip.createPartialSol()
    hinted = set(hint.tolist())
    for index in range(n):
        scip.setSolVal(start, variables[index], float(index in hinted))
    scip.addSol(start)
