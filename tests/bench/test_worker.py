"""The process of a solver: answers come back, and one that ends or dies is started anew."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

import pytest

from mckp_quant.bench import worker
from mckp_quant.bench.worker import Worker
from mckp_quant.solvers import Problem

if TYPE_CHECKING:
    from pathlib import Path

JOBS = """
import os, threading
from mckp_quant.solvers import Problem

def make(name):
    return Problem.from_table([[float(len(name)), 0.0]], [[1, 2]], 1)

def run(problem, seconds):
    what = problem.value[0]
    print("this goes nowhere")
    if what == len("waits"):
        threading.Event().wait()
    if what == len("dies"):
        os._exit(3)
    return lambda: {"claim": "optimal", "value": float(what), "pid": os.getpid()}
"""


def test_answers_come_back_with_time_and_memory_and_a_process_that_failed_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "jobs_of_a_worker.py").write_text(JOBS)
    monkeypatch.syspath_prepend(tmp_path)
    jobs = importlib.import_module("jobs_of_a_worker")
    monkeypatch.setattr(worker, "GRACE", 0.2)
    one = Worker(jobs.run, jobs.make)
    try:
        first, second = one.solve("a", 30.0), one.solve("aaa", 30.0)
        assert (first["value"], second["value"]) == (1.0, 3.0)
        assert first["pid"] == second["pid"] != os.getpid()
        assert first["groups"] == 1
        assert first["cpu"] >= 0
        assert first["peak_bytes"] > 10**6
        assert one.solve("dies", 30.0)["claim"] == "crashed"
        assert one.solve("a", 30.0)["pid"] != first["pid"]
        assert one.solve("waits", 0.1)["claim"] == "ended"
    finally:
        one.close()
    one.close()


@pytest.mark.parametrize(
    ("readings", "solves", "counted"),
    [
        ([0.0, 0.003, 1.0, 1.001, 2.0, 2.002, 3.0, 3.004, 4.0, 4.001, 5.0, 5.002], 6, 0.001),
        ([0.0, 0.007], 1, 0.007),
        ([0.0, 2.0], 1, 2.0),
    ],
)
def test_who_is_fast_solves_some_times_in_a_row_and_nothing_is_known_from_before(
    readings: list[float], solves: int, counted: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, seen = iter(readings), list[Problem]()
    monkeypatch.setattr(worker, "_cpu", lambda: next(clock))

    def run(problem: Problem, seconds: float) -> Any:
        assert "fits" not in problem.__dict__
        assert problem.fits is not None
        seen.append(problem)
        return lambda: {"claim": "optimal"}

    record = worker._timed(run, Problem.from_table([[1.0, 0.0]], [[1, 2]], 1), 1.0)
    assert len({id(problem) for problem in seen}) == len(seen) == solves
    assert record["cpu"] == pytest.approx(counted)
