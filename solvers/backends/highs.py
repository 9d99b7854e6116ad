"""Adapter to HiGHS, through SciPy: the package highspy cannot share a process with OR-Tools."""

from __future__ import annotations

import dataclasses
import time
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ..bounds.lagrangian import EPS
from ..errors import require
from ..problem.supports import no_pairs
from ..system.interrupt import interruptible, silenced
from .backend_model import BackendModel, Outcome, largest_in_group
from .milp import as_milp
from .row_model import solve_general

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..answer import Answer
    from ..problem.problem import Problem

_TOLERANCE = 1e-6  # on rows and on integrality; SciPy does not let it be set
_SHARE = 0.95  # of the time, as it looks at its clock now and then only
_CLAIMS = {0: "optimal", 1: "limit reached", 2: "infeasible", 3: "unbounded", 4: "other"}


@dataclasses.dataclass(frozen=True)
class Highs:
    """HiGHS (``scipy.optimize.milp``) on the core in gap units, with a relative gap of 0.

    SciPy passes neither seed nor thread count on; HiGHS is deterministic. Nor can it be stopped through SciPy: on
    Ctrl-C the answer is the best selection known before, and HiGHS goes on unattended until its time is up.

    Attributes
    ----------
    reduce
        False gives HiGHS the whole problem; its status is then kept in ``stats["claimed"]`` and proves nothing.
    """

    reduce: bool = True
    name: ClassVar[str] = "highs"
    requires: ClassVar[str | None] = "scipy"
    reference: ClassVar[str] = "Huangfu and Hall (2018), Parallelizing the dual revised simplex method, MPC 10, 119-142"

    def supports(self, problem: Problem) -> str | None:
        """Give the reason why not, or None: every problem without pairwise terms is taken."""
        return no_pairs(problem, self.name)

    def __call__(self, problem: Problem, *, seconds: float, seed: int, warm: NDArray[np.int64] | None) -> Answer:
        """Solve."""
        return solve_general(problem, _minimise, seconds, warm, reduced=self.reduce, floating=True)


def _minimise(model: BackendModel, seconds: float) -> Outcome:
    deadline = time.perf_counter() + seconds
    optimize = require("scipy.optimize", None)
    sparse = require("scipy.sparse", None)
    whole = as_milp(model, _TOLERANCE, EPS)
    rows = whole.rows
    # Places in 32 bits: `milp` of the oldest SciPy takes no others.
    matrix = sparse.csr_array(
        (
            np.concatenate([row.coefficient for row in rows]),
            np.concatenate([row.index for row in rows]).astype(np.int32),
            np.cumsum([0, *(len(row.index) for row in rows)]).astype(np.int32),
        ),
        shape=(len(rows), len(whole.objective)),
    )
    binary = np.arange(len(whole.objective)) < whole.n_binary
    call = partial(
        optimize.milp,
        whole.objective,
        integrality=binary.astype(int),
        bounds=optimize.Bounds(0, np.where(binary, 1.0, np.inf)),
        constraints=optimize.LinearConstraint(matrix, [row.lower for row in rows], [row.upper for row in rows]),
        options={"time_limit": _SHARE * max(deadline - time.perf_counter(), 0.0), "mip_rel_gap": 0.0},
    )
    with silenced():
        result, _ = interruptible(call, deadline=deadline)
    claimed = _CLAIMS[result.status]
    complete = claimed in ("optimal", "infeasible")
    if result.x is None:
        return Outcome(None, complete, claimed)
    x = np.asarray(result.x[: whole.n_binary])
    n = len(model.value)
    chosen = largest_in_group(model, x[:n])
    return Outcome(chosen, complete, claimed, whole.resolution, np.rint(x[n:]).astype(np.int64))
