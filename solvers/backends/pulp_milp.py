"""Adapter to PuLP and the CBC that comes with it."""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import subprocess
import tempfile
import threading
import time
import warnings
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ..errors import require
from ..problem.arguments import check_whole
from ..problem.supports import no_pairs
from ..system.interrupt import OutOfTime
from ..system.writing import temporary_folder
from .backend_model import BackendModel, Outcome, largest_in_group
from .milp import Milp, as_milp
from .row_model import solve_general

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from ..answer import Answer
    from ..problem.problem import Problem

TOLERANCE = 1e-9  # what CBC is told to allow on rows and on integrality
_GRACE = 0.4  # seconds that CBC has to write its best selection once it was told to stop
_LATE = 0.1  # seconds past its limit at which it is told to
FILE_PRECISION = 5e-13  # PuLP hands its models over in files, with thirteen digits a number


@dataclasses.dataclass(frozen=True)
class Pulp:
    """PuLP with CBC on the core in gap units, with gaps of 0 and tight tolerances.

    Attributes
    ----------
    threads
        Threads of CBC.
    reduce
        False gives CBC the whole problem at its default settings; its status is then kept in ``stats["claimed"]``
        and proves nothing.
    """

    threads: int = 1
    reduce: bool = True
    name: ClassVar[str] = "pulp"
    requires: ClassVar[str | None] = "pulp"
    reference: ClassVar[str] = "Mitchell, O'Sullivan and Dunning (2011), PuLP; Forrest et al., CBC"

    def __post_init__(self) -> None:
        """Refuse a thread count that CBC has no meaning for."""
        check_whole("threads", self.threads, 1)

    def supports(self, problem: Problem) -> str | None:
        """Give the reason why not, or None: every problem without pairwise terms is taken."""
        return no_pairs(problem, self.name)

    def __call__(self, problem: Problem, *, seconds: float, seed: int, warm: NDArray[np.int64] | None) -> Answer:
        """Solve."""
        return solve_general(problem, partial(self._minimise, seed), seconds, warm, reduced=self.reduce, floating=True)

    def _minimise(self, seed: int, model: BackendModel, seconds: float) -> Outcome:
        deadline = time.perf_counter() + seconds
        pulp = require("pulp", None)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # PuLP 3 announces the names of version 4
            return self._run(pulp, seed, model, deadline)

    def _run(self, pulp, seed: int, model: BackendModel, deadline: float) -> Outcome:  # type: ignore[no-untyped-def]
        milp = as_milp(model, TOLERANCE, FILE_PRECISION)
        whole, x = _stated(pulp, milp, deadline)
        if model.hint is not None:
            hinted = set(model.hint.tolist())
            for index in range(len(model.value)):
                x[index].setInitialValue(int(index in hinted))
        arguments = ["-timeMode", "elapsed"]
        if self.threads > 1:  # with one thread CBC would still start its threaded mode, which now and then stalls
            arguments += ["-threads", f"{self.threads}"]
        arguments += ["-randomSeed", f"{seed % 2**31}"]
        if self.reduce:
            # Cuts are derived in floating point: on subset-sum-like cores they remove true optima.
            arguments += ["-ratio", "0", "-allow", "0", "-cuts", "off"]
            # Not dualT: at 1e-9 CBC prunes true optima of subset-sum-like cores.
            for name in ("primalT", "integerT", "increment"):
                arguments += [f"-{name}", f"{TOLERANCE:g}"]
        with temporary_folder(tempfile.gettempdir()) as folder:
            status, sol_status, values, interrupted = _cbc(
                pulp, whole, folder, arguments, model.hint is not None, deadline
            )
        # `status` reads Optimal when CBC merely hit its time limit; `sol_status` tells the two apart.
        claimed = "interrupted" if interrupted else pulp.LpSolution[sol_status]
        complete = sol_status == pulp.LpSolutionOptimal or status == pulp.LpStatusInfeasible
        if sol_status not in (pulp.LpSolutionOptimal, pulp.LpSolutionIntegerFeasible):
            return Outcome(None, complete, claimed, interrupted=interrupted)
        found = np.array([values.get(variable.name) or 0.0 for variable in x[: milp.n_binary]])
        n = len(model.value)
        return Outcome(
            largest_in_group(model, found[:n]),
            complete and not interrupted,
            claimed,
            milp.resolution,
            np.rint(found[n:]).astype(np.int64),
            interrupted,
        )


def _stated(pulp, milp: Milp, deadline: float):  # type: ignore[no-untyped-def]
    """The programme in PuLP's terms, and its variables."""
    n = milp.n_binary
    x = [
        pulp.LpVariable(f"x{index}", 0, 1 if index < n else None, "Binary" if index < n else "Continuous")
        for index in range(len(milp.objective))
    ]
    whole = pulp.LpProblem("core", pulp.LpMinimize)
    whole += pulp.LpAffineExpression(zip(x, milp.objective.tolist(), strict=True))
    for number, row in enumerate(milp.rows):
        if time.perf_counter() > deadline:
            raise OutOfTime("the model takes longer to build than there is time")
        terms = zip(row.index.tolist(), row.coefficient.tolist(), strict=True)
        expression = pulp.LpAffineExpression([(x[index], coefficient) for index, coefficient in terms])
        if row.lower == row.upper:
            whole += expression == row.lower, f"c{number}"
        elif np.isinf(row.lower):
            whole += expression <= row.upper, f"c{number}"
        else:
            whole += expression >= row.lower, f"c{number}"
    return whole, x


def _cbc(  # type: ignore[no-untyped-def]
    pulp, whole, folder: Path, arguments: list[str], warm: bool, deadline: float
) -> tuple[int, int, dict[str, float], bool]:
    """Run CBC as PuLP does, but as a child that Ctrl-C reaches: it then writes the best that it has, or is ended."""
    solver = pulp.PULP_CBC_CMD(msg=False)
    model, start, solution = folder / "core.mps", folder / "start.sol", folder / "core.sol"
    variables, names, row_names, _ = whole.writeMPS(str(model), rename=1)
    command = [solver.path, str(model)]
    if warm:
        solver.writesol(str(start), whole, variables, names, row_names)
        command += ["-mips", str(start)]
    seconds = max(deadline - time.perf_counter(), 0.01)
    command += ["-sec", f"{seconds}", *arguments, "-solve", "-printingOptions", "all", "-solution", str(solution)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    interrupted = False
    late = False
    try:
        process.wait(min(seconds + _LATE, threading.TIMEOUT_MAX))
    except (KeyboardInterrupt, subprocess.TimeoutExpired) as reason:
        interrupted, late = isinstance(reason, KeyboardInterrupt), isinstance(reason, subprocess.TimeoutExpired)
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_LATE if late else _GRACE)
    finally:
        process.kill()
        process.wait()
    if not solution.exists():
        if interrupted:
            raise KeyboardInterrupt
        if late:
            raise OutOfTime("CBC goes on after its time limit")
        raise RuntimeError(f"CBC ended with code {process.returncode} and without a solution file")
    status, values, _, _, _, sol_status = solver.readsol_MPS(str(solution), whole, variables, names, row_names)
    return status, sol_status, values, interrupted
