"""Ctrl-C: the best of the backend's and the reduction's selection, with the dual bound; and a clean standard output."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest

from mckp_quant.solvers import Answer, Problem, Rows, Status, available, solve
from mckp_quant.solvers.backends.backend_model import BackendModel, Outcome
from mckp_quant.solvers.backends.row_model import solve_general
from mckp_quant.solvers.backends.solving import solve_raw, solve_reduced
from mckp_quant.solvers.core.reduction import reduce
from mckp_quant.solvers.core_search.dynamic import _Search as Search
from mckp_quant.solvers.instances import quantisation, resnet50
from mckp_quant.solvers.kernels import dispatch
from mckp_quant.solvers.methods import exact as exact_module
from mckp_quant.solvers.system.interrupt import OutOfTime, interruptible

from ..checks import here, verified
from ..families import with_share

if TYPE_CHECKING:
    from pathlib import Path


GENERAL = [name for name in ("cp_sat", "highs", "pulp", "scip") if name in available()]


def hard(n_groups: int = 100, n_choices: int = 10, n_budgets: int = 5) -> Problem:
    """Value is what a choice costs in all budgets together, and a little noise: nobody proves that in half a minute."""
    rng = np.random.default_rng(0)
    cost = rng.integers(1, 1000, (n_budgets, n_groups, n_choices))
    value = -(cost.sum(axis=0) + rng.integers(0, 100, (n_groups, n_choices)))
    return with_share(value.astype(float), cost, 0.5)


def stops(model: BackendModel, seconds: float) -> Outcome:
    raise KeyboardInterrupt


def test_interrupted_backend_leaves_the_reductions_selection_with_the_bound() -> None:
    problem = hard(20, 5, 3)
    answer = solve_reduced(problem, stops, 30.0, None)
    assert answer.choice is not None
    assert (problem.cost[:, answer.choice].sum(axis=1) <= problem.budget).all()
    assert answer.stats["interrupted"] is True
    assert not answer.complete
    assert answer.price is not None
    assert (answer.price > 0).any()


def best_of(model: BackendModel, seconds: float) -> Outcome:
    """A backend that finds the best selection, and is interrupted before it can say so."""
    ways = itertools.product(*(range(low, high) for low, high in itertools.pairwise(model.start.tolist())))
    within = [way for way in map(np.array, ways) if not model.over_budget(way)]
    best = min(within, key=lambda way: float(model.value[way].sum()))
    return Outcome(best, complete=False, claimed="stopped", interrupted=True)


def test_better_selection_of_an_interrupted_backend_is_kept() -> None:
    problem = hard(6, 4, 3)
    without = solve_reduced(problem, stops, 30.0, None)
    kept = solve_reduced(problem, best_of, 30.0, None)
    assert without.choice is not None
    assert kept.choice is not None
    assert kept.stats["interrupted"] is True
    assert not kept.complete
    value = float(problem.value[kept.choice].sum())
    assert value == solve(problem, "enumerate").value
    assert value < float(problem.value[without.choice].sum())


def test_interrupted_with_rows_the_warm_start_is_left() -> None:
    problem = hard(20, 5, 3)
    rows = Rows(np.array([0, 1]), np.array([0]), np.array([1]), np.array([0]), np.array([0]))
    problem = dataclasses.replace(problem, rows=rows)
    lightest = np.array(
        [low + int(problem.cost[:, low:high].sum(axis=0)[1:].argmin()) + 1 for low, high in _spans(problem)]
    )
    nothing = solve_general(problem, stops, 30.0, None, reduced=True, floating=True)
    assert nothing.choice is None
    assert nothing.stats["interrupted"] is True
    kept = solve_general(problem, stops, 30.0, lightest, reduced=True, floating=True)
    assert kept.choice is not None
    assert kept.choice.tolist() == lightest.tolist()


def _spans(problem: Problem) -> list[tuple[int, int]]:
    return list(zip(problem.start[:-1].tolist(), problem.start[1:].tolist(), strict=True))


def test_interrupted_raw_backend_has_nothing_and_says_so() -> None:
    answer = solve_raw(hard(5, 3, 2), stops, 30.0, None)
    assert answer.choice is None
    assert answer.stats == {"claimed": "interrupted", "interrupted": True}


@pytest.mark.parametrize("solver", GENERAL)
def test_interrupt_inside_the_package_is_an_answer(solver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    here(solver)

    def interrupted(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    _, module, hook = CALLS[solver]
    monkeypatch.setattr(f"mckp_quant.solvers.backends.{module}.{hook}", interrupted)
    problem = hard(20, 5, 3)
    solution = verified(problem, solve(problem, solver))
    assert solution.status is Status.FEASIBLE
    assert solution.stats["interrupted"] is True
    assert solution.bound < solution.value


def test_interrupt_inside_the_search_of_a_core_keeps_the_best_selection_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = quantisation(resnet50(), range(2, 9), share=0.2, seed=2)
    reduction = reduce(problem)
    assert reduction.incumbent is not None
    extend, calls = Search._extend, itertools.count()

    def interrupted(*arguments: Any) -> Any:
        if next(calls) == 3:
            raise KeyboardInterrupt
        return extend(*arguments)

    monkeypatch.setattr(dispatch, "_COMPILED", None)  # what the kernels do then is a test of theirs
    monkeypatch.setattr(Search, "_extend", interrupted)
    solution = verified(problem, solve(problem))
    assert solution.status is Status.FEASIBLE
    assert solution.stats["interrupted"] is True
    assert next(calls) == 4  # no other search was begun
    assert solution.bound < solution.value < float(problem.value[reduction.incumbent].sum())


def test_interrupted_before_any_search_the_reductions_selection_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = quantisation(resnet50(), range(2, 9), share=0.2, seed=2)
    reduction = reduce(problem)
    assert reduction.incumbent is not None

    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(dispatch, "_COMPILED", None)
    monkeypatch.setattr(Search, "run", interrupted)
    solution = verified(problem, solve(problem))
    assert solution.status is Status.FEASIBLE
    assert solution.stats["interrupted"] is True
    assert solution.value == math.fsum(problem.value[reduction.incumbent].tolist())


# Where the tests themselves run in the background, their children would ignore Ctrl-C.
IN_ANOTHER_PROCESS = """
import json, os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
import numpy as np
from mckp_quant.solvers import Problem, solve
import {package}
rng = np.random.default_rng(0)
cost = rng.integers(1, 1000, (5, 100, 10))
value = -(cost.sum(axis=0) + rng.integers(0, 100, (100, 10)))
least, most = cost.min(axis=2).sum(axis=1), cost.max(axis=2).sum(axis=1)
problem = Problem.from_table(value.astype(float), cost, [int(a) + int(0.5 * int(b - a)) for a, b in zip(least, most)])
from mckp_quant.solvers.backends import {module} as adapter
before = adapter.{hook}
errors = os.fdopen(os.dup(2), "w")
def hooked(*arguments, **named):
    print("searching", file=errors, flush=True)
    return before(*arguments, **named)
adapter.{hook} = hooked
solution = solve(problem, "{solver}", seconds=30)
print(json.dumps([solution.status.name, solution.stats["interrupted"], solution.value, solution.bound]))
"""
CALLS = {
    "cp_sat": ("ortools.sat.python.cp_model", "cp_sat", "interruptible"),
    "highs": ("scipy.optimize", "highs", "interruptible"),
    "pulp": ("pulp", "pulp_milp", "_cbc"),
    "scip": ("pyscipopt", "scip", "interruptible"),
}


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGINT to send to one process")
@pytest.mark.parametrize("solver", GENERAL)
def test_ctrl_c_while_it_searches_gives_the_best_so_far_at_once(solver: str) -> None:
    here(solver)
    package, module, hook = CALLS[solver]
    script = IN_ANOTHER_PROCESS.format(package=package, module=module, hook=hook, solver=solver)
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", script], stdout=pipe, stderr=pipe, text=True) as child:
        try:
            assert child.stderr is not None
            assert child.stderr.readline() == "searching\n"
            child.send_signal(signal.SIGINT)
            out, err = child.communicate(timeout=60)
        finally:
            child.kill()
    assert child.returncode == 0, err
    status, interrupted, value, bound = json.loads(out)
    assert status == "FEASIBLE"
    assert interrupted is True
    assert bound < value


def test_result_error_and_thread_of_a_call_are_the_callers() -> None:
    assert interruptible(lambda: 7) == (7, False)

    def fails() -> int:
        raise ValueError("seven")

    with pytest.raises(ValueError, match="seven"):
        interruptible(fails)
    seen: list[tuple[int, bool]] = []
    other = threading.Thread(target=lambda: seen.append(interruptible(threading.get_ident)))
    other.start()
    other.join()
    assert seen == [(other.ident, False)]
    assert interruptible(threading.get_ident)[0] != threading.get_ident()


def interrupting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait for a call is interrupted, as by Ctrl-C; waits of anybody else are left alone."""

    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("mckp_quant.solvers.system.interrupt._waited", interrupted)


def test_call_that_can_be_stopped_is_stopped_and_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    told = threading.Event()
    interrupting(monkeypatch)
    assert interruptible(lambda: told.wait(30), told.set) == (True, True)


def test_call_that_did_not_hear_the_first_stop_is_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    told, times = threading.Event(), itertools.count()

    def stop() -> None:
        if next(times) == 1:  # the first one came before there was anything to stop
            told.set()

    interrupting(monkeypatch)
    assert interruptible(lambda: told.wait(30), stop) == (True, True)


def test_interrupt_while_the_thread_starts_leaves_no_call_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    told, start = threading.Event(), threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        start(thread)
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    assert interruptible(lambda: told.wait(30), told.set) == (True, True)


class OverBudget:
    """A solver that is interrupted with a selection that is over budget."""

    name: ClassVar[str] = "over"
    requires: ClassVar[str | None] = None
    reference: ClassVar[str] = "none"
    calls = 0

    def supports(self, problem: Problem) -> str | None:
        return None

    def __call__(self, problem: Problem, *, seconds: float, seed: int, warm: Any) -> Answer:
        self.calls += 1
        return Answer(problem.start[:-1] + 1, stats={"interrupted": True})


def test_interrupted_solver_that_is_over_budget_is_not_called_again() -> None:
    problem, solver = Problem.from_table([[1.0, 0.0], [1.0, 0.0]], [[0, 2], [0, 2]], 3), OverBudget()
    solution = verified(problem, solve(problem, solver))
    assert solver.calls == 1
    assert solution.stats["interrupted"] is True
    assert solution.value == 1.0


def test_interrupt_of_the_second_search_is_told_beside_the_proof_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    problem, ordinary, calls = hard(6, 4, 3), reduce, itertools.count()

    def without_incumbent(*arguments: Any) -> Any:
        found = ordinary(*arguments)
        return found if next(calls) else dataclasses.replace(found, incumbent=None, gap=math.inf)

    def searched(problem: Problem, reduction: Any, *_: Any, **__: Any) -> Answer:
        if reduction.incumbent is None:
            return Answer(ordinary(problem).incumbent, complete=True, price=reduction.price)
        return Answer(reduction.incumbent, price=reduction.price, stats={"interrupted": True})

    monkeypatch.setattr(exact_module, "reduce", without_incumbent)
    monkeypatch.setattr(exact_module, "search_several_budgets", searched)
    monkeypatch.setattr(exact_module, "farkas_price", lambda _: None)
    answer = exact_module.Exact()(problem, seconds=9.0, seed=0, warm=None)
    assert answer.complete
    assert answer.stats["interrupted"] is True


def test_call_that_cannot_be_stopped_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    told = threading.Event()
    interrupting(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        interruptible(lambda: told.wait(30))
    told.set()


PRINTS = """
import ctypes, os, sys, threading
from mckp_quant.solvers.system.interrupt import silenced
print("before")
other = threading.Event()
if len(sys.argv) > 1:
    threading.Thread(target=other.wait, daemon=True).start()
with silenced():
    os.write(1, b"written\\n")
    os.write(2, b"complained\\n")
    ctypes.CDLL(None).puts(b"buffered")
print("after")
other.set()
"""


@pytest.mark.skipif(os.name == "nt", reason="the C library goes by another name")
def test_what_compiled_code_prints_goes_nowhere() -> None:
    done = subprocess.run([sys.executable, "-c", PRINTS], capture_output=True, text=True, check=True)
    assert done.stdout == "before\nafter\n"
    assert done.stderr == ""


@pytest.mark.skipif(os.name == "nt", reason="the C library goes by another name")
def test_beside_other_threads_the_descriptors_are_left_alone() -> None:
    done = subprocess.run([sys.executable, "-c", PRINTS, "thread"], capture_output=True, text=True, check=True)
    assert sorted(done.stdout.split()) == ["after", "before", "buffered", "written"]
    assert done.stderr == "complained\n"


@pytest.mark.slow
def test_scip_writes_nothing_while_other_threads_run() -> None:
    here("scip")
    script = (
        "import threading\nfrom mckp_quant.solvers import instances, solve\n"
        "other = threading.Event()\nthreading.Thread(target=other.wait, daemon=True).start()\n"
        "solve(instances.several_budgets(12, 5, 5, seed=2), 'scip', seconds=30)\nother.set()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_standard_output_is_restored_after_an_error(tmp_path: Path) -> None:
    script = (
        "import os\nfrom mckp_quant.solvers.system.interrupt import silenced\n"
        "try:\n    with silenced():\n        raise KeyboardInterrupt\n"
        "except KeyboardInterrupt:\n    os.write(1, b'here')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout == "here"


def test_closed_standard_output_is_no_error() -> None:
    script = (
        "import os, sys\nfrom mckp_quant.solvers.system.interrupt import silenced\n"
        "os.close(1)\nwith silenced():\n    pass\nprint('here', file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stderr.startswith("here")


def test_call_that_outlives_its_deadline_is_told_and_then_left_behind() -> None:
    told, free = threading.Event(), threading.Event()
    assert interruptible(lambda: told.wait(30), told.set, deadline=time.perf_counter()) == (True, False)
    with pytest.raises(OutOfTime, match="a backend goes on after its time limit"):
        interruptible(lambda: free.wait(30), deadline=time.perf_counter())
    free.set()


def late(model: BackendModel, seconds: float) -> Outcome:
    raise OutOfTime("the model takes longer to build than there is time")


def test_backend_that_runs_out_of_time_leaves_the_reductions_selection() -> None:
    problem = hard(20, 5, 3)
    answer = solve_reduced(problem, late, 30.0, None)
    assert answer.choice is not None
    assert answer.stats["claimed"] == "no answer in time: the model takes longer to build than there is time"
    assert not answer.complete
    assert solve_raw(problem, late, 30.0, None).choice is None


QUESTIONS = {
    "solve": "solve(problem, seconds=120)",
    "k_best": "k_best(problem, 5, seconds=120)",
    "least_cost": "least_cost(problem, 0.999 * known.value, seconds=120)",
    "explain": "explain(tight, fail, seconds=120)",
    "resolve": "resolve(problem, known, seconds=120)",
}
QUESTION = """
import os, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
import numpy as np
from mckp_quant.solvers import Certificate, Status, explain, instances, k_best, least_cost, resolve, solve
from mckp_quant.solvers.core_search import lists
from mckp_quant.solvers.front_door import least_budgets
from functools import partial
import dataclasses
problem = instances.several_budgets(60, 10, 10, seed=0)
known = solve(problem, "relax")
tight = problem.with_budget([problem.least_cost[0] - 1, *problem.budget[1:].tolist()])
fail = dataclasses.replace(solve(tight), least=partial(least_budgets, tight, 120.0))
before = lists.search_lists
from mckp_quant.solvers.core_search import several_budgets
def searching(*arguments, **options):
    several_budgets.search_lists = before
    os.write(2, b"searching\\n")
    return before(*arguments, **options)
several_budgets.search_lists = searching
{question}
print("ended")
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="there is no SIGINT to send to one process")
@pytest.mark.parametrize("question", QUESTIONS)
def test_ctrl_c_ends_every_question_with_what_it_has(question: str) -> None:
    script = QUESTION.format(question=QUESTIONS[question]).replace("\\\\n", "\\n")
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", script], stdout=pipe, stderr=pipe, text=True) as child:
        try:
            assert child.stderr is not None
            assert child.stderr.readline() == "searching\n"
            child.send_signal(signal.SIGINT)
            out, err = child.communicate(timeout=30)  # a quarter of what it would take
        finally:
            child.kill()
    assert (child.returncode, out) == (0, "ended\n"), err
