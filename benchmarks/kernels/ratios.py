"""Time of a solve with compiled kernels beside the same in NumPy, problem by problem.

    python -m benchmarks.kernels.ratios [--seeds 4] [--first-seed 100] [--rounds 5] [--page docs/benchmarks.md]

Two processes, one of which is forced to NumPy, are asked in turns for the same problem, and solve it some times in a
row, made anew for each solve. A time is CPU time through `solve()`, certificate included; the least one counts, as
other work on the machine only adds. Both must make the same selection. A second table is of work done at once: a whole
front, the selections of 1,000 draws, and a million layers.
"""

from __future__ import annotations

import math
import os
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import numpy as np

from mckp_quant.solvers import Problem, best_choices, front, instances, is_compiled, solve

from ..command_line import Command, WrongInput
from ..pages import fill, table

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

SHARES = (0.2, 0.5, 0.8)
BITS = {4: (2, 3, 4, 8), 7: (2, 3, 4, 5, 6, 7, 8)}
FAMILIES = {
    "ResNet-50 54x4": ("resnet50", 54, 4, 1),
    "ResNet-50 54x7": ("resnet50", 54, 7, 1),
    "LLM 224x7": ("llm", 224, 7, 1),
    "lognormal 500x7": ("lognormal", 500, 7, 1),
    "ResNet-50 54x4, 2 budgets": ("resnet50", 54, 4, 2),
    "ResNet-50 54x4, 3 budgets": ("resnet50", 54, 4, 3),
    "ResNet-50 54x7, 2 budgets": ("resnet50", 54, 7, 2),
    "ResNet-50 54x7, 3 budgets": ("resnet50", 54, 7, 3),
    "LLM 224x4, 2 budgets": ("llm", 224, 4, 2),
    "LLM 224x4, 3 budgets": ("llm", 224, 4, 3),
}
IN_A_ROW = 6  # solves in a turn, so that they find the processor as one of thousands of solves finds it
AT_ONCE = ("whole front of 54x7", "1,000 draws of 54x7", "LLM 1,000,000x4")
DRAWS = 1000
HEADINGS = ("problems", "compiled, ms", "NumPy, ms", "ratio, median", "ratio of the sums")


def make(family: str, seed: int, share: float) -> Problem:
    """A problem of a family."""
    kind, size, columns, n_budgets = FAMILIES[family]
    if kind == "lognormal":
        layers = instances.lognormal(size, seed=seed)
    else:
        layers = instances.resnet50() if kind == "resnet50" else instances.llm(size)
    return instances.quantisation(layers, BITS[columns], share=share, seed=seed, n_budgets=n_budgets)


def work_of(family: str, seed: int, share: float) -> Callable[[], NDArray[np.int64]]:
    """What is timed: a problem is made, and the call is to be timed that gives whole numbers to compare."""
    if family == AT_ONCE[0]:
        problem = make("ResNet-50 54x7", seed, 1.0)
        return lambda: front(problem).cost
    if family == AT_ONCE[1]:
        problem = make("ResNet-50 54x7", seed, share)
        noise = np.random.default_rng(seed).normal(size=(DRAWS, problem.n_choices))
        values, warm = problem.value * np.exp(0.1 * noise), solve(problem).choice
        return lambda: best_choices(problem, values, warm=warm).ravel()
    if family == AT_ONCE[2]:
        problem = instances.quantisation(instances.llm(1_000_000), BITS[4], share=share, seed=seed)
    else:
        problem = make(family, seed, share)
    return lambda: np.asarray(solve(problem, "exact").require().choice)


def serve() -> None:
    """Answer each line ``family;seed;share`` with the seconds of a solve and a digest of its selection."""
    solve(make("ResNet-50 54x4", 0, 0.5))  # imports and first calls are not part of what is timed
    print(is_compiled(), flush=True)
    for line in sys.stdin:
        family, seed, share = line.strip().split(";")
        took = math.inf
        for _ in range(1 if family in AT_ONCE else IN_A_ROW):
            work = work_of(family, int(seed), float(share))
            began = time.process_time()
            numbers = work()
            took = min(took, time.process_time() - began)
        print(took, int(np.arange(1, len(numbers) + 1) @ numbers), flush=True)


class Worker:
    """A process that solves on demand, with compiled kernels or without."""

    def __init__(self, pure: bool) -> None:
        command = [sys.executable, "-c", "from benchmarks.kernels.ratios import serve; serve()"]
        variables = {**os.environ, "MCKP_QUANT_PURE": str(int(pure)), "OMP_NUM_THREADS": "1"}
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, env=variables, stdin=pipe, stdout=pipe, text=True)
        self.compiled = self._line() == "True"

    def ask(self, family: str, seed: int, share: float) -> tuple[float, int]:
        """Seconds of CPU, and the digest of the selection."""
        assert self.process.stdin is not None
        print(family, seed, share, sep=";", file=self.process.stdin, flush=True)
        took, digest = self._line().split()
        return float(took), int(digest)

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def close(self) -> None:
        """End the process."""
        self.process.communicate()


def compare(workers: tuple[Worker, Worker], family: str, seeds: range, rounds: int) -> tuple[str, ...]:
    """The row of a family; the first worker is the compiled one."""
    compiled, pure = [], []
    for seed in seeds:
        for share in SHARES[1:2] if family in AT_ONCE else SHARES:
            times: tuple[list[float], list[float]] = ([], [])
            digests = set()
            for _ in range(rounds):
                for own, worker in zip(times, workers, strict=True):
                    took, digest = worker.ask(family, seed, share)
                    own.append(took)
                    digests.add(digest)
            assert len(digests) == 1, f"{family}, seed {seed}, share {share}: the selections differ"
            compiled.append(min(times[0]))
            pure.append(min(times[1]))
    ratio = statistics.median(slow / fast for slow, fast in zip(pure, compiled, strict=True))
    figures = (1e3 * statistics.median(compiled), 1e3 * statistics.median(pure))
    return (
        f"{family} ({len(compiled)})",
        *(f"{each:.2f}" for each in figures),
        f"{ratio:.1f}x",
        f"{sum(pure) / sum(compiled):.1f}x",
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a row for each family; 0."""
    command = Command(__doc__)
    command.whole("--seeds", 4, "problems of each family and share")
    command.whole("--first-seed", 100, "the first of them")
    command.whole("--rounds", 5, "turns on each problem")
    command.file("--page", help="the page whose table to write")
    return command.run(arguments, _run)


def _run(options: argparse.Namespace) -> int:
    workers = Worker(pure=False), Worker(pure=True)
    try:
        if not workers[0].compiled:
            raise WrongInput("there are no compiled kernels here: install the package with a C compiler at hand")
        rows = {}
        seeds = range(options.first_seed, options.first_seed + options.seeds)
        for family in (*FAMILIES, *AT_ONCE):
            rows[family] = compare(workers, family, seeds, options.rounds)
            print(*rows[family], sep="  ", flush=True)
    finally:
        for worker in workers:
            worker.close()
    if options.page is not None:
        parts = {"kernels": FAMILIES, "at once": AT_ONCE}
        fill(options.page, {name: table(HEADINGS, [rows[each] for each in own]) for name, own in parts.items()})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
