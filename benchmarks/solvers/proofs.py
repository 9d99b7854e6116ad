"""False proofs of every solver name on problems made to break them, held against rational numbers.

    python -m benchmarks.solvers.proofs run [--problems 20000] [--seed 15] [--solvers exact,highs] [--csv FILE]
    python -m benchmarks.solvers.proofs page [--csv FILE] [--page docs/exactness.md]

Block b of a family is drawn from (seed, family, b), the same for every solver. Solvers take turns, block by block, and
a block that is finished is added to FILE at once, so a run that was stopped goes on where it was. A failure is printed
with the block and the place in it.
"""

from __future__ import annotations

import collections
import itertools
import math
import time
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from mckp_quant.solvers import InvalidProblem, Problem, Solution, SolverFailure, Status, available, solve

from ..command_line import Command, require_file, say
from ..environment import environment
from ..pages import DOCS, RESULTS, append_rows, fill, read_rows, table

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

BLOCK = 25
MOST_SELECTIONS = 2000
FAMILIES = (
    "along the costs",
    "costs to 1e15",
    "several budgets",
    "small integers",
    "constants",
    "one fixed group",
    "small losses",
    "many decades",
)
SECONDS = 10.0
COUNTS = ("problems", "refused", "not proved", "false proof", "over budget", "certificate", "failed")
NAMES = ("auto", *(name for name in available() if name != "pairwise"))  # which takes no problem without pairs
COLUMNS = ("solver", "family", "block", *COUNTS, "seed", "cpu_seconds", *environment())


def draw(rng: np.random.Generator, family: str) -> Problem:
    """A problem of a family, with at most `MOST_SELECTIONS` selections."""
    size = rng.integers(1, 6, int(rng.integers(2, 9)))
    while math.prod(size.tolist()) > MOST_SELECTIONS:
        size = size[1:]
    start = np.append(0, np.cumsum(size))
    n, n_budgets = int(start[-1]), int(rng.integers(1, 4))
    cost = rng.integers(0, 60, (n_budgets, n))
    value = rng.integers(-50, 50, n).astype(np.float64)
    if family in ("along the costs", "costs to 1e15"):
        cost = rng.integers(1, 10 ** int(rng.integers(9, 16)), (n_budgets, n))
        value = rng.normal(size=n)
        if family == "along the costs":
            value = -(cost[0] + rng.integers(-1, 2, n)).astype(np.float64)
    elif family == "several budgets":
        cost = rng.integers(1, 10**6, (int(rng.integers(2, 6)), n))
        value = rng.random(n)
    elif family == "small integers":
        value = -8 / 3 * (cost[0] + rng.integers(0, 3, n)) + 1e-13 * rng.integers(-9, 10, n)
    elif family == "constants":
        value += np.repeat(10.0 ** rng.integers(9, 14, len(size)), size)
    elif family == "one fixed group":
        value = np.append(value, 10.0 ** rng.integers(9, 16))
        cost = np.append(cost, np.zeros((n_budgets, 1), dtype=np.int64), axis=1)
        start = np.append(start, n + 1)
    elif family == "small losses":
        value = np.exp(rng.normal(0, 2, n)) * 10.0 ** rng.uniform(-9, -3)
    elif family == "many decades":
        value = rng.integers(1, 1000, n) * 10.0 ** rng.integers(-9, 6, n)
    label = np.concatenate([np.arange(count) for count in np.diff(start)])
    return Problem(value, cost, np.array([_budget(rng, row, start) for row in cost]), start, label)


def _budget(rng: np.random.Generator, row: NDArray[np.int64], start: NDArray[np.int64]) -> int:
    least, most = (int(reduce.reduceat(row, start[:-1]).sum()) for reduce in (np.minimum, np.maximum))
    if rng.random() < 0.5:
        return int(rng.integers(least, most + 1))
    return int(row[rng.integers(start[:-1], start[1:])].sum()) - int(rng.random() < 0.2)


def optimum(problem: Problem) -> Fraction | None:
    """The least value within the budgets, exactly; None where nothing is."""
    ratios = [each.as_integer_ratio() for each in problem.value.tolist()]
    whole = math.lcm(*(below for _, below in ratios))
    value = [above * (whole // below) for above, below in ratios]
    cost = list(zip(*problem.cost.tolist(), strict=True))
    budget = problem.budget.tolist()
    states: dict[tuple[int, ...], int] = {(0,) * len(budget): 0}
    for first, last in itertools.pairwise(problem.start.tolist()):
        following: dict[tuple[int, ...], int] = {}
        for spent, total in states.items():
            for at in range(first, last):
                after = tuple(a + b for a, b in zip(spent, cost[at], strict=True))
                if all(a <= b for a, b in zip(after, budget, strict=True)):
                    following[after] = min(following.get(after, total + value[at]), total + value[at])
        states = following
    return Fraction(min(states.values()), whole) if states else None


def faults(problem: Problem, solution: Solution, best: Fraction | None) -> list[str]:
    """What is wrong with an answer: "false proof", "over budget" or "certificate"; whole numbers have no tolerance."""
    found = []
    if solution.choice is None:
        if solution.status is Status.INFEASIBLE and best is not None:
            found.append("false proof")
    else:
        at = [problem.label.tolist().index(own, low, high) for own, low, high in _groups(problem, solution.choice)]
        spent = [sum(row[each] for each in at) for row in problem.cost.tolist()]
        if best is None or any(used > limit for used, limit in zip(spent, problem.budget.tolist(), strict=True)):
            found.append("over budget")
        elif solution.status is Status.OPTIMAL:
            excess = sum((Fraction(float(problem.value[each])) for each in at), Fraction(0)) - best
            if excess > _rounding(problem):
                found.append("false proof")
    bound = solution.certificate.bound
    if best is not None and math.isfinite(bound) and Fraction(bound) > best:
        found.append("certificate")
    if not solution.certificate.holds(problem):
        found.append("certificate")
    return found


def _rounding(problem: Problem) -> Fraction:
    """1e-12 of how far the values lie apart, group by group; nothing for whole numbers that floats add up exactly."""
    begin = problem.start[:-1]
    if (problem.value == np.rint(problem.value)).all() and np.abs(problem.value).sum() < 2.0**53:
        return Fraction(0)
    spread = np.maximum.reduceat(problem.value, begin) - np.minimum.reduceat(problem.value, begin)
    return Fraction(1, 10**12) * sum(map(Fraction, spread.tolist()), Fraction(0))


def _groups(problem: Problem, choice: NDArray[np.int64]) -> list[tuple[int, int, int]]:
    pairs = itertools.pairwise(problem.start.tolist())
    return [(own, low, high) for own, (low, high) in zip(choice.tolist(), pairs, strict=True)]


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
