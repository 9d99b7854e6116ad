"""The process of a solver: answers come back, and one that ends or dies is started anew."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from mckp_quant.bench import worker
from mckp_quant.bench.worker import Worker
from mckp_quant.solvers import Problem

if TYPE_CHECKING:
    import pytest


def make(name: str) -> Problem:
    return Problem.from_table([[float(len(name)), 0.0]], [[1, 2]], 1)


def run(problem: Problem, seconds: float) -> dict[str, Any]:
    """Do what the first value says; the first small solve has another one."""
    what = problem.value[0]
    print("this goes nowhere")
    if what == len("sleeps") and problem.n_groups == 1:
        time.sleep(600)
    if what == len("dies"):
        os._exit(3)
    return {"claim": "optimal", "value": float(what), "pid": os.getpid()}


def test_answers_come_back_with_time_and_memory_and_a_process_that_failed_is_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker, "GRACE", 0.2)
    one = Worker(run, make)
    try:
        first, second = one.solve("a", 30.0), one.solve("aaa", 30.0)
        assert (first["value"], second["value"]) == (1.0, 3.0)
        assert first["pid"] == second["pid"] != os.getpid()
        assert first["groups"] == 1
        assert first["cpu"] >= 0
        assert first["peak_bytes"] > 10**6
        assert one.solve("dies", 30.0)["claim"] == "crashed"
        third = one.solve("a", 30.0)
        assert third["pid"] != first["pid"]
        assert one.solve("sleeps", 0.1)["claim"] == "ended"
    finally:
        one.close()
    one.close()
