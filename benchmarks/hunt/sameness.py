"""The same answers in any process: over seeds of hashes, numbers of threads, and processes that run side by side.

    python -m benchmarks.hunt.sameness [--problems 40] [--without-networks]

Each process solves the same problems, measures the same network and gives a digest of selections, bounds and losses;
all digests must be the same. Environments differ in PYTHONHASHSEED and OMP_NUM_THREADS; the last three run at once.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from mckp_quant.solvers import instances, solve

from ..command_line import Command
from ..pages import ROOT

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

ENVIRONMENTS = (("0", "1"), ("1", "1"), ("4242", "1"), ("0", "2"), ("7", "4"))
AT_ONCE = 3
SOLVERS = ("auto", "exact", "greedy", "evolve")


def digest(problems: int, networks: bool) -> str:
    """Of everything that this process finds."""
    content = hashlib.sha256()
    for number in range(problems):
        budgets = 1 + number % 2
        bits = ((2, 4, 8), (2, 3, 4, 6, 8))[number % 2]
        problem = instances.quantisation(instances.llm(12), bits, share=0.4, seed=number, n_budgets=budgets)
        solver = SOLVERS[number % len(SOLVERS)] if budgets == 1 else "auto"
        found = solve(problem, solver)
        content.update(repr((found.choice if found.choice is None else found.choice.tolist(), found.bound)).encode())
    if networks:
        import mckp_quant as mq

        from .files.runs import FORMATS, batches, network

        content.update(mq.measure(network(), batches(), formats=FORMATS).loss.tobytes())
    return content.hexdigest()


def start(problems: int, networks: bool, environment: tuple[str, str]) -> subprocess.Popen[str]:
    """A process that prints its digest."""
    code = f"from benchmarks.hunt.sameness import digest; print(digest({problems}, {networks}))"
    hashes, threads = environment
    variables = {**os.environ, "PYTHONHASHSEED": hashes, "OMP_NUM_THREADS": threads, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code], env=variables, stdout=subprocess.PIPE, text=True
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare digests; 1 where two differ."""
    command = Command(__doc__)
    command.whole("--problems", 40, "that each process solves")
    command.flag("--without-networks", "measure nothing, which needs torch")
    return command.run(arguments, _run)


def _run(options: argparse.Namespace) -> int:
    networks = not options.without_networks
    found = [start(options.problems, networks, each).communicate()[0].strip() for each in ENVIRONMENTS]
    together = [start(options.problems, networks, ENVIRONMENTS[0]) for _ in range(AT_ONCE)]
    found += [each.communicate()[0].strip() for each in together]
    different = len(set(found))
    print(
        f"{len(found)} processes, {different} different answers: {', '.join(sorted(each[:12] for each in set(found)))}"
    )
    return int(different > 1 or "" in found)


if __name__ == "__main__":
    raise SystemExit(main())
