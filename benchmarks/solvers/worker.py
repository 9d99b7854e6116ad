"""One solver in a process of its own: it gets instances, and returns its answers with their time and memory.

The parent sends instances by name; the worker builds them, solves them, and answers with one record each. Building the
model of a backend counts, imports and a first small solve do not. CPU time is that of the process and of the processes
it started (PuLP runs CBC as one).
"""

from __future__ import annotations

import contextlib
import gc
import json
import multiprocessing
import os
import resource
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mckp_quant.solvers import Problem, SolverFailure, Status, front, solve

from .library import library
from .raw import RAW, exact_value, over_budget

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

GRACE = 10.0  # seconds beyond its limit after which a solver is ended
_SMALL = ([[4.0, 1.0, 0.0], [8.0, 2.0, 0.0]], [[1, 2, 3], [1, 2, 3]], 4)

Record = dict[str, Any]


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


def _timed(solver: str, problem: Problem, seconds: float) -> Record:
    gc.collect()
    wall, cpu = time.perf_counter(), _cpu()
    record = run(solver, problem, seconds)
    used = {"cpu": _cpu() - cpu, "wall": time.perf_counter() - wall, "peak_bytes": _peak_bytes()}
    return {"groups": problem.n_groups, **record, **used}


def _cpu() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _peak_bytes() -> int:
    """The most memory this process held; `ru_maxrss` would begin with that of its parent."""
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _serve(connection: Connection, solver: str, folder: str | None) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # some solvers print whatever they are told
    instances = library(None if folder is None else Path(folder))
    if solver != "front":
        run(solver, Problem.from_table(*_SMALL), 10.0)
    name, problem = "", None
    while job := json.loads(connection.recv_bytes()):
        if job["instance"] != name or problem is None:
            name, problem = job["instance"], instances[job["instance"]].make()
            connection.send_bytes(b"{}")
        connection.send_bytes(json.dumps(_timed(solver, problem, job["seconds"])).encode())


class Worker:
    """A process for one solver, ended and started anew where it does not come back in time."""

    def __init__(self, solver: str, folder: Path | None) -> None:
        self._solver, self._folder = solver, None if folder is None else str(folder)
        self._process: Any = None
        self._connection: Any = None
        self._instance = ""

    def solve(self, instance: str, seconds: float) -> Record:
        """Solve an instance of the library within so many seconds."""
        if self._process is None:
            self._start()
        self._connection.send_bytes(json.dumps({"instance": instance, "seconds": seconds}).encode())
        try:
            if instance != self._instance:
                self._build(instance)
            return self._receive(seconds + GRACE)
        except (TimeoutError, EOFError, ConnectionError) as error:
            self.close()
            claim = "ended" if isinstance(error, TimeoutError) else "crashed"
            return {"claim": claim, "cpu": seconds + GRACE, "wall": seconds + GRACE, "peak_bytes": 0}

    def _build(self, instance: str) -> None:
        """Wait while the process builds the problem, which is not timed."""
        try:
            self._receive(600.0)
        except EOFError as error:
            self.close()
            raise RuntimeError(f"{instance} cannot be built; its process has said why") from error
        self._instance = instance

    def _receive(self, seconds: float) -> Record:
        if not self._connection.poll(seconds):
            raise TimeoutError
        record: Record = json.loads(self._connection.recv_bytes())
        return record

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, self._solver, self._folder), daemon=True)
        self._process.start()
        other.close()

    def close(self) -> None:
        """End the process, if there is one."""
        if self._process is not None:
            with contextlib.suppress(OSError):
                self._connection.send_bytes(b"null")
            self._process.join(0.5)
            if self._process.is_alive():
                self._process.kill()
                self._process.join()
            self._connection.close()
        self._process, self._instance = None, ""
