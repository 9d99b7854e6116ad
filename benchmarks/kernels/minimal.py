"""The kernel of one budget alone beside Pisinger's minimal algorithm in plain C, both from arrays to a selection.

    python -m benchmarks.kernels.minimal [--seeds 3] [--first-seed 100] [--rounds 30] [--page docs/benchmarks.md]

`minimal.c` beside this file is written after the paper of 1995 and is compiled here, with -O3; it works in floats and
proves nothing. Both are called from Python on the same arrays, in turns; the fastest call of each counts. Both must
find the same value, to rounding. The problems are those of `benchmarks.kernels.ratios`, and larger ones.
"""

from __future__ import annotations

import ctypes
import math
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mckp_quant.solvers import Exact, Problem, instances
from mckp_quant.solvers.bounds.normal_form import normalise
from mckp_quant.solvers.core.incumbent import PAIRS_UP_TO
from mckp_quant.solvers.core_search.one_budget import FIRST_STATES, STATES_OF_A_GROUP
from mckp_quant.solvers.kernels.dispatch import compiled, plain

from ..command_line import Command, WrongInput
from ..pages import fill, table
from .ratios import BITS, SHARES, make

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from mckp_quant.solvers import Answer

FAMILIES = ("ResNet-50 54x4", "ResNet-50 54x7", "LLM 224x7", "lognormal 500x7")
LARGER = {"lognormal 5000x7": 5000, "lognormal 50000x7": 50_000}
HEADINGS = ("problems", "kernel, ms", "minimal algorithm, ms", "ratio, median", "largest")
MAX_STATES = 10**7
SECONDS = 600.0


class Minimal:
    """`minimal.c`, compiled into a folder of its own."""

    def __init__(self, folder: Path) -> None:
        library = folder / "minimal.so"
        source = Path(__file__).with_suffix(".c")
        try:
            subprocess.run(["cc", "-O3", "-shared", "-fPIC", str(source), "-o", str(library), "-lm"], check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise WrongInput(f"minimal.c cannot be compiled: a C compiler named cc is needed ({error})") from error
        self._solve = ctypes.CDLL(str(library)).minimal_solve
        self._solve.argtypes = [ctypes.c_int64, *[ctypes.c_void_p] * 3, ctypes.c_int64, ctypes.c_void_p]

    def call(self, problem: Problem) -> tuple[Callable[[], object], NDArray[np.int64]]:
        """What solves a problem with one budget, and where it leaves the ``(n_groups,)`` positions."""
        choice = np.zeros(problem.n_groups, dtype=np.int64)
        arrays = (problem.start, np.ascontiguousarray(problem.cost[0]), problem.value)
        pointers = [array.ctypes.data for array in arrays]
        limit = int(problem.budget[0])
        return lambda: (arrays, self._solve(problem.n_groups, *pointers, limit, choice.ctypes.data)), choice


def problems_of(family: str, seeds: range) -> list[Problem]:
    """The problems of a family, in the form in which a solver is given them."""
    found = []
    for seed in seeds:
        for share in SHARES:
            if family in LARGER:
                layers = instances.lognormal(LARGER[family], seed=seed)
                problem = instances.quantisation(layers, BITS[7], share=share, seed=seed)
            else:
                problem = make(family, seed, share)
            found.append(normalise(problem).problem)
    return found


def kernel_on(problem: Problem) -> tuple[Callable[[], bool], NDArray[np.int64]]:
    """The kernel on a problem with one budget, and where it leaves the ``(n_groups,)`` positions."""
    kernels = compiled()
    assert kernels is not None
    choice, figures, counts = np.zeros(problem.n_groups, dtype=np.int64), np.zeros(3), np.zeros(3, dtype=np.int64)
    arrays = (problem.value, plain(problem.cost), problem.start, choice, figures, counts, None)
    limits = (int(problem.budget[0]), PAIRS_UP_TO, FIRST_STATES, STATES_OF_A_GROUP, MAX_STATES, SECONDS)
    return lambda: kernels.solve_one_budget(*arrays, *limits), choice


def seconds_of(work: Callable[[], object]) -> float:
    """CPU time of one call."""
    began = time.process_time()
    work()
    return time.process_time() - began


def compare(minimal: Minimal, problem: Problem, rounds: int) -> tuple[float, float]:
    """The least seconds of the kernel and of the minimal algorithm."""
    other, choice = minimal.call(problem)

    kernel, found = kernel_on(problem)

    def turns() -> Answer:
        return Exact(MAX_STATES)(problem, seconds=SECONDS, seed=0, warm=None)

    ours: Callable[[], object] = kernel
    if not kernel():  # the first turn is not enough: all of them, with some Python between
        ours, answer = turns, turns().choice
        assert answer is not None
        found = answer
    other()
    values = [math.fsum(problem.value[each].tolist()) for each in (found, choice)]
    if problem.cost[0, choice].sum() > problem.budget[0]:
        raise AssertionError("the minimal algorithm exceeds the budget")
    if not math.isclose(*values, rel_tol=1e-9):
        raise AssertionError(f"the minimal algorithm found {values[1]}, the kernel {values[0]}")
    times = [(seconds_of(ours), seconds_of(other)) for _ in range(rounds)]
    return min(own for own, _ in times), min(its for _, its in times)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a row for each family; 0."""
    command = Command(__doc__)
    command.whole("--seeds", 3, "problems of each family and share")
    command.whole("--first-seed", 100, "the first of them")
    command.whole("--rounds", 30, "turns on each problem; a tenth of it on larger ones")
    command.file("--page", help="the page whose table to write")
    return command.run(arguments, _run)


def _run(options: argparse.Namespace) -> int:
    if compiled() is None:
        raise WrongInput("there are no compiled kernels here: install the package with a C compiler at hand")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        minimal = Minimal(Path(folder))
        for family in (*FAMILIES, *LARGER):
            seeds = range(options.first_seed, options.first_seed + options.seeds)
            rounds = max(options.rounds // 10, 2) if family in LARGER else options.rounds
            times = [compare(minimal, problem, rounds) for problem in problems_of(family, seeds)]
            ours, its = ([each[which] for each in times] for which in (0, 1))
            ratios = [one / other for one, other in times]
            figures = (f"{1e3 * statistics.median(each):.3f}" for each in (ours, its))
            last = (f"{statistics.median(ratios):.2f}", f"{max(ratios):.2f}")
            rows.append((f"{family} ({len(times)})", *figures, *last))
            print(*rows[-1], sep="  ", flush=True)
    if options.page is not None:
        fill(options.page, {"minimal": table(HEADINGS, rows)})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
