"""False proofs of every solver name on problems made to break them, held against rational numbers.

    python -m benchmarks.solvers.proofs run [--problems 20000] [--seed 15] [--solvers exact,highs] [--csv FILE]
    python -m benchmarks.solvers.proofs page [--csv FILE] [--page docs/exactness.md]

Block b of a family is drawn from (seed, family, b), the same for every solver. Solvers take turns, block by block, and
a block that is finished is added to FILE at once, so a run that was stopped goes on where it was. A failure is printed
with the block and the place in it.
"""

from __future__ import annotations

import collections
import time
from typing import TYPE_CHECKING

import numpy as np

from mckp_quant.solvers import InvalidProblem, SolverFailure, Status, available, solve

from ..command_line import Command, require_file, say
from ..environment import environment
from ..pages import DOCS, RESULTS, append_rows, fill, read_rows, table
from .adversarial import FAMILIES, draw, faults, optimum

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

BLOCK = 25
SECONDS = 10.0
COUNTS = ("problems", "refused", "not proved", "false proof", "over budget", "certificate", "failed")
NAMES = ("auto", *(name for name in available() if name != "pairwise"))  # which takes no problem without pairs
COLUMNS = ("solver", "family", "block", *COUNTS, "seed", "cpu_seconds", *environment())


def run_block(solver: str, family: str, block: int, seed: int) -> dict[str, object]:
    """What a solver makes of one block, as a row of the results."""
    rng = np.random.default_rng([seed, FAMILIES.index(family), block])
    began = time.process_time()
    counts: collections.Counter[str] = collections.Counter()
    for place in range(BLOCK):
        problem = draw(rng, family)
        counts["problems"] += 1
        try:
            solution = solve(problem, solver, seconds=SECONDS)
        except InvalidProblem:
            counts["refused"] += 1
            continue
        except SolverFailure as error:
            counts["failed"] += 1
            say(f"{solver}, {family}, seed {seed}, block {block}, problem {place}: {error}")
            continue
        counts["not proved"] += solution.status in (Status.FEASIBLE, Status.UNKNOWN)
        found = faults(problem, solution, optimum(problem))
        counts.update(set(found))
        if found:
            say(f"{solver}, {family}, seed {seed}, block {block}, problem {place}: {', '.join(found)}")
    seconds = round(time.process_time() - began, 2)
    return {
        "solver": solver,
        "family": family,
        "block": block,
        **{name: counts[name] for name in COUNTS},
        "seed": seed,
        "cpu_seconds": seconds,
        **environment(),
    }


def run(problems: int, seed: int, solvers: Sequence[str], path: Path) -> int:
    """Run what the results do not hold yet; 1 where anything is wrong."""
    done = {(row["solver"], row["family"], int(row["block"])) for row in read_rows(path) if int(row["seed"]) == seed}
    for block in range(-(-problems // (BLOCK * len(FAMILIES)))):
        for family in FAMILIES:
            for solver in solvers:
                if (solver, family, block) not in done:
                    append_rows(path, COLUMNS, [run_block(solver, family, block, seed)])
    return int(any(int(row[name]) for row in read_rows(path) for name in COUNTS[3:]))


def page(path: Path, target: Path) -> None:
    """Write the table of docs/exactness.md."""
    rows = read_rows(path)
    made = sorted({(row["date"], row["commit"], row["versions"]) for row in rows})
    stamp = "; ".join(f"{date}, commit {commit or 'unknown'}, {versions}" for date, commit, versions in made)

    def line(title: str, own: list[dict[str, str]]) -> tuple[str, ...]:
        return (title, *(f"{sum(int(row[name]) for row in own):,}" for name in COUNTS))

    solvers = dict.fromkeys(row["solver"] for row in rows)
    by_solver = [line(name, [row for row in rows if row["solver"] == name]) for name in solvers]
    by_family = [line(name, [row for row in rows if row["family"] == name]) for name in FAMILIES]
    fill(
        target,
        {
            "proofs": f"{stamp}.\n\n"
            + table(("solver", *COUNTS), by_solver)
            + "\n\n"
            + table(("family, all solvers", *COUNTS), by_family)
        },
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, or write the page."""
    command = Command(__doc__, ("run", "page"))
    command.whole("--problems", 20_000, "for each solver, over all families")
    command.whole("--seed", 15, "of the draws", at_least=0)
    command.several("--solvers", str, ",".join(NAMES), "their names", metavar="NAME,NAME")
    command.file("--csv", RESULTS / "proofs.csv", "the results")
    command.file("--page", DOCS / "exactness.md", "the page to fill")
    return command.run(arguments, _run)


def _run(options: argparse.Namespace) -> int:
    if options.action == "run":
        return run(options.problems, options.seed, options.solvers, options.csv)
    require_file("--csv", options.csv, "benchmarks.solvers.proofs run")
    page(options.csv, options.page)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
