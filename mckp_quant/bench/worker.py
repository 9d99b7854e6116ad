"""One solver in a process of its own: it gets problems by name, and returns its answers with their time and memory.

Building a problem, imports, a first small solve and checking what was said are not timed. CPU time is that of the
process and of the processes it started (PuLP runs CBC as one). Who is fast solves some times in a row, of which the
least time counts: it finds the processor as one of thousands of solves finds it, and not cold after waiting.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import importlib.util
import json
import math
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

from ..solvers import Problem
from .problems import FAMILIES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# What crosses this pipe was pickled by the process that starts the child; no file is ever unpickled.
_CHILD = (
    "import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer); "
    "from mckp_quant.bench.worker import serve; serve()"
)
GRACE = 10.0  # seconds beyond its limit after which a solver is ended
FAST, IN_A_ROW = 0.005, 6  # seconds of a solve that is repeated, and how often it is solved at most
BUILDING = 600.0  # seconds in which a problem must be built
# Not on Windows: there the time of processes that a solver starts, and memory, are not known.
resource: Any = importlib.import_module("resource") if importlib.util.find_spec("resource") else None
_SMALL = (6, 4)  # groups and choices of a problem that takes a search, so that a solver loads what it needs

Record: TypeAlias = dict[str, Any]
Run: TypeAlias = Callable[[Problem, float], Callable[[], Record]]


def exact_value(problem: Problem, choice: NDArray[np.int64]) -> float:
    """The value of a selection, given as positions, rounded once."""
    return math.fsum(problem.terms(choice))


def over_budget(problem: Problem, choice: NDArray[np.int64]) -> int:
    """By how much a selection exceeds its budgets, over all of them, in exact integers."""
    spent = [sum(row[choice].tolist()) for row in problem.cost]
    return sum(max(0, used - limit) for used, limit in zip(spent, problem.budget.tolist(), strict=True))


def _timed(run: Run, problem: Problem, seconds: float) -> Record:
    gc.collect()
    cpu = wall = math.inf
    for _ in range(IN_A_ROW):
        new = dataclasses.replace(problem)  # what an earlier solve found out about the problem is not known again
        began, began_cpu = time.perf_counter(), _cpu()
        said = run(new, seconds)
        cpu, wall = min(cpu, _cpu() - began_cpu), min(wall, time.perf_counter() - began)
        if cpu > FAST:
            break
    return {"groups": problem.n_groups, **said(), "cpu": cpu, "wall": wall, "peak_bytes": _peak_bytes()}


def _cpu() -> float:
    if resource is None:
        return time.process_time()
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + float(children.ru_utime + children.ru_stime)


def _peak_bytes() -> int:
    """The most memory this process held, 0 if unknown; `ru_maxrss` would begin with that of its parent."""
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    return 0 if resource is None else 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def serve() -> None:
    """Be the process of a solver: jobs come in on stdin, answers go out on what was stdout."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this process
    jobs, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # some solvers print whatever they are told
    run, make = pickle.load(jobs)
    run(FAMILIES["zigzag"].make(_SMALL, 0), 10.0)
    name, problem = "", None
    while job := json.loads(jobs.readline() or "null"):
        if job["problem"] != name or problem is None:
            name, problem = job["problem"], make(job["problem"])
            answers.write(b"{}\n")
            answers.flush()
        answers.write(json.dumps(_timed(run, problem, job["seconds"])).encode() + b"\n")
        answers.flush()


class Worker:
    """A process for one solver, ended and started anew where it does not come back in time.

    Parameters
    ----------
    run
        Solves a problem within so many seconds, and returns what then says, without being timed, what is worth keeping,
        in plain types. It can be pickled.
    make
        Makes a problem from its name; can be pickled.
    """

    def __init__(self, run: Run, make: Callable[[str], Problem]) -> None:
        self._run, self._make = run, make
        self._process: Any = None
        self._problem = ""

    def solve(self, problem: str, seconds: float) -> Record:
        """Solve the problem of that name within so many seconds.

        Parameters
        ----------
        problem
            Its name.
        seconds
            Wall time; a process that takes ten seconds more is ended.

        Returns
        -------
        record
            What `run` gave, with ``groups``, ``cpu`` and ``wall`` (seconds) and ``peak_bytes``; the claim ``ended`` or
            ``crashed`` where nothing came back in time, or the process came to its end.
        """
        if self._process is None:
            self._start()
        try:
            self._send(json.dumps({"problem": problem, "seconds": seconds}).encode() + b"\n")
            if problem != self._problem:
                self._build(problem)
            return self._receive(seconds + GRACE)
        except (TimeoutError, EOFError, OSError) as error:
            self.close()
            claim = "ended" if isinstance(error, TimeoutError) else "crashed"
            return {"claim": claim, "cpu": seconds + GRACE, "wall": seconds + GRACE, "peak_bytes": 0}

    def _build(self, problem: str) -> None:
        """Wait while the process builds the problem, which is not timed."""
        self._receive(BUILDING)
        self._problem = problem

    def _receive(self, seconds: float) -> Record:
        try:
            line = self._answers.get(timeout=seconds)
        except queue.Empty:
            raise TimeoutError from None
        if not line:
            raise EOFError
        record: Record = json.loads(line)
        return record

    def _send(self, content: bytes) -> None:
        self._process.stdin.write(content)
        self._process.stdin.flush()

    def _start(self) -> None:
        # Not by multiprocessing, which would run the script of the user again in every process.
        self._process = subprocess.Popen([sys.executable, "-c", _CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._answers: queue.Queue[bytes] = queue.Queue()
        threading.Thread(target=_listen, args=(self._process.stdout, self._answers), daemon=True).start()
        with contextlib.suppress(OSError):  # a process that is gone already gives no answer, which is heard
            self._send(pickle.dumps(sys.path) + pickle.dumps((self._run, self._make)))

    def close(self) -> None:
        """End the process, if there is one."""
        if self._process is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
            try:
                self._process.wait(0.5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process, self._problem = None, ""


def _listen(answers: BinaryIO, heard: queue.Queue[bytes]) -> None:
    """Pass on lines as they come, and an empty one at the end; a queue can be waited for with a limit everywhere."""
    with answers:
        for line in answers:
            heard.put(line)
    heard.put(b"")
