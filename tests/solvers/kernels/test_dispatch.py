"""One place says whether compiled kernels run, and interrupts and limits are heard while they do."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import Any

import pytest

from mckp_quant.solvers import Status, solve
from mckp_quant.solvers.kernels import dispatch
from tests.solvers.families import strongly_correlated

KERNELS: Any = dispatch.compiled()


def test_the_environment_forces_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    ask = [sys.executable, "-c", "from mckp_quant import solvers; print(solvers.is_compiled())"]
    done = subprocess.run(ask, env={**os.environ, dispatch.PURE: "1"}, check=True, capture_output=True, text=True)
    assert done.stdout == "False\n"
    monkeypatch.setenv(dispatch.PURE, "1")
    assert dispatch._loaded() is None
    monkeypatch.setenv(dispatch.PURE, "0")
    loaded = dispatch._loaded()
    monkeypatch.setenv(dispatch.PURE, "")
    assert dispatch._loaded() is loaded


def test_numpy_does_the_work_where_nothing_was_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mckp_quant.solvers.kernels._compiled", None)
    monkeypatch.delattr(sys.modules["mckp_quant.solvers.kernels"], "_compiled", raising=False)
    monkeypatch.delenv(dispatch.PURE, raising=False)
    assert dispatch._loaded() is None


@pytest.mark.skipif(KERNELS is None, reason="there are no compiled kernels here, or NumPy is forced")
def test_kernels_stop_in_time() -> None:
    began = time.perf_counter()
    solution = solve(strongly_correlated(2000, 10, seed=1, reach=10_000), "exact", seconds=0.3)
    assert solution.status in (Status.FEASIBLE, Status.OPTIMAL)
    assert time.perf_counter() - began < 5


# In a process of its own: an interrupt that comes too late would end the tests.
INTERRUPTED = """
import signal, threading
import numpy as np
from mckp_quant.solvers.kernels import dispatch
signal.signal(signal.SIGINT, signal.default_int_handler)
n = 60
start = np.arange(0, 2 * n + 1, 2)
cost = np.where(np.arange(2 * n) % 2, np.random.default_rng(0).integers(10**6, 10**9, 2 * n), 0)
value = -cost * 1.0
changes, count, found = np.full(n, -1), np.array([-1]), np.array([1e15])
threading.Timer(0.1, signal.raise_signal, [signal.SIGINT]).start()
try:
    dispatch.compiled().search_core(
        value, cost, start, np.zeros(2 * n), cost.sum(keepdims=True) // 2, np.ones(1), changes, count, found,
        2**25, 0.0, 0.0, 60.0
    )
except KeyboardInterrupt:
    print(found[0] < 1e15, count[0] > 0)
"""


@pytest.mark.skipif(KERNELS is None, reason="there are no compiled kernels here, or NumPy is forced")
def test_a_search_is_interrupted_and_keeps_what_it_found() -> None:
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], check=True, capture_output=True, text=True)
    assert done.stdout == "True True\n"
