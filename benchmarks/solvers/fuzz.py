"""Random problems of every shape against plain answers: nothing wrong, nothing over budget, every certificate holds.

    python -m benchmarks.solvers.fuzz [--problems 100000] [--seed 0] [--processes 2] [--block B] [--twice] [--minutes M]
        [--output benchmarks/results/fuzz.csv]

Problems have one to three budgets and values scaled by 1e-12 to 1e12. Their families: tables drawn entry by entry, with
ties, dominated and repeated choices, common factors, huge costs and budgets at the edge; networks; and the families of
the knapsack literature. Those with at most 20,000 selections are held against brute force, those whose budgets span at
most 40,000 cells against a table over every budget; of larger ones budgets, proof and certificate are checked. All
checks are made without the project's arithmetic. Block b of a run is drawn from (seed, b), so a failure, which is
printed, can be repeated alone: --block b. With --output a run that was stopped goes on where it was: what is finished
waits beside FILE, in a file that ends in .part. With --minutes a run ends after so many, and goes on at the next call.
With --twice each problem is solved again without the compiled kernels, and must have the same selection and status.
Where CP-SAT has searched, selections of equal value may differ; they are counted as tied.
"""

from __future__ import annotations

import collections
import csv
import io
import itertools
import json
import math
import multiprocessing
import time
from typing import TYPE_CHECKING, NamedTuple
from unittest import mock

import numpy as np

from mckp_quant.common.files import write_text
from mckp_quant.solvers import Problem, Solution, Status, is_compiled, solve
from mckp_quant.solvers.kernels import dispatch

from ..command_line import Command, say
from ..environment import environment
from ..problems import FAMILIES, draw
from .oracle import optimum

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

BLOCK = 500
SECONDS = 120.0
LARGEST_EXACT_BOUND = 400  # choices up to which the bound is recomputed in rational numbers
COUNTS = (
    *("problems", "against an oracle", "infeasible", "not proved", "wrong", "over budget", "certificate fails"),
    *("solved twice", "not the same", "tied"),
)
FAILURES = ("not proved", "wrong", "over budget", "certificate fails", "not the same")


class Tally(NamedTuple):
    """What a block found: counts by (family, budgets, name of the count), failures in words, seconds of CPU."""

    counts: dict[tuple[str, int, str], int]
    failures: list[str]
    seconds: float


def judge(problem: Problem, solution: Solution, best: float | None) -> list[str]:
    """The names of the counts that a solution belongs to."""
    found = ["problems"]
    if best is not None:
        found.append("against an oracle")
    if solution.status is Status.INFEASIBLE:
        found.append("infeasible")
    if solution.status in (Status.FEASIBLE, Status.UNKNOWN):
        found.append("not proved")
    elif _is_wrong(problem, solution, best):
        found.append("wrong")
    if solution.choice is not None and _over_budget(problem, solution):
        found.append("over budget")
    if not solution.certificate.holds(problem) or not _bound_is_true(problem, solution, best):
        found.append("certificate fails")
    return found


def _is_wrong(problem: Problem, solution: Solution, best: float | None) -> bool:
    if best is None:
        return False
    if solution.choice is None:
        return best < math.inf
    size = np.maximum.reduceat(np.abs(problem.value), problem.start[:-1])
    return not abs(solution.value - best) <= 1e-12 * math.fsum(size.tolist())


def _over_budget(problem: Problem, solution: Solution) -> bool:
    assert solution.choice is not None
    label, cost = problem.label.tolist(), problem.cost.tolist()
    pairs = zip(solution.choice.tolist(), itertools.pairwise(problem.start.tolist()), strict=True)
    chosen = [label.index(own, low, high) for own, (low, high) in pairs]
    spent = [sum(row[at] for at in chosen) for row in cost]
    stated = solution.value != math.fsum(problem.value[chosen].tolist()) or tuple(spent) != solution.cost
    return stated or any(used > limit for used, limit in zip(spent, problem.budget.tolist(), strict=True))


def _bound_is_true(problem: Problem, solution: Solution, best: float | None) -> bool:
    """Whether the price proves the stated bound, in rational numbers, and the bound is not above the optimum.

    The bound leaves out choices that exceed a budget even when every other group costs its least, and counts of each
    budget what lies above the least cost in whole multiples of the common divisor of the costs above it.
    """
    certificate = solution.certificate
    if best is not None and best < math.inf:
        size = np.maximum.reduceat(np.abs(problem.value), problem.start[:-1])
        if certificate.bound > best + 1e-12 * math.fsum(size.tolist()):
            return False
    if problem.n_choices > LARGEST_EXACT_BOUND or not math.isfinite(certificate.bound):
        return True
    # Whole numbers of one unit that divides every value, price and the bound: rational arithmetic, five times faster.
    prices = certificate.price.tolist()
    exact = [each.as_integer_ratio() for each in (certificate.bound, *prices, *problem.value.tolist())]
    unit = max(denominator for _, denominator in exact)  # they are powers of two
    bound, *scaled = [numerator * (unit // denominator) for numerator, denominator in exact]
    price, values = scaled[: len(prices)], scaled[len(prices) :]
    costs, groups = problem.cost.tolist(), list(itertools.pairwise(problem.start.tolist()))
    total, room = 0, []
    for own, row, limit in zip(price, costs, problem.budget.tolist(), strict=True):
        least = sum(min(row[low:high]) for low, high in groups)
        divisor = math.gcd(*(each - min(row[low:high]) for low, high in groups for each in row[low:high]))
        room.append(limit - least - ((limit - least) % divisor if divisor else 0))
        total -= own * (least + room[-1])
    for low, high in groups:
        most = [left + min(row[low:high]) for left, row in zip(room, costs, strict=True)]
        total += min(
            values[at] + sum(own * row[at] for own, row in zip(price, costs, strict=True))
            for at in range(low, high)
            if all(row[at] <= limit for row, limit in zip(costs, most, strict=True))
        )
    return bool(bound <= total)


def in_numpy(problem: Problem) -> Solution:
    """The solution without the compiled kernels, of a problem that knows nothing yet."""
    with mock.patch.object(dispatch, "_COMPILED", None):
        return solve(
            Problem(problem.value, problem.cost, problem.budget, problem.start, problem.label), seconds=SECONDS
        )


def compared(one: Solution, other: Solution) -> list[str]:
    """The counts of a comparison: two solutions should be one selection, or none, with one status.

    "tied": CP-SAT, which is given seconds, has searched, and which of several selections of equal value, to the
    tolerance of their certificates, is known by then depends on the machine.
    """
    if one.status is other.status:
        if one.choice is None or other.choice is None:
            return ["not the same"] if one.choice is not other.choice else []
        if (one.choice == other.choice).all():
            return []
        within = max(one.certificate.tolerance, other.certificate.tolerance)
        if abs(one.value - other.value) <= within and any("claimed" in each.stats for each in (one, other)):
            return ["tied"]
    return ["not the same"]


def run_block(task: tuple[int, int, int, bool]) -> tuple[int, Tally]:
    """The block and what its problems showed, of (seed, block, how many, whether each is solved twice)."""
    seed, block, problems, twice = task
    began = time.process_time()
    rng = np.random.default_rng([seed, block])
    counts: collections.Counter[tuple[str, int, str]] = collections.Counter()
    failures = []
    for index in range(problems):
        family, n_budgets = str(rng.choice(FAMILIES)), int(rng.integers(1, 4))
        problem = draw(rng, family, n_budgets)
        where = f"seed {seed}, block {block}, problem {index} ({family}, {n_budgets} budgets)"
        try:
            solution = solve(problem, seconds=SECONDS)
            found = judge(problem, solution, optimum(problem))
            if twice:
                found.append("solved twice")
                found += compared(solution, in_numpy(problem))
        except Exception as error:  # noqa: BLE001  a crash is a finding
            found = ["problems", "wrong"]
            where += f": {type(error).__name__}: {error}"
        counts.update((family, n_budgets, name) for name in found)
        if failing := [name for name in found if name in FAILURES]:
            failures.append(f"{where}: {', '.join(failing)}")
    return block, Tally(dict(counts), failures, time.process_time() - began)


def _keep(part: Path | None, seed: int, block: int, tally: Tally) -> None:
    """Append a finished block to the file of a run that is under way."""
    if part is not None:
        part.parent.mkdir(parents=True, exist_ok=True)
        counts = [[*key, count] for key, count in tally.counts.items()]
        with part.open("a", encoding="utf-8") as file:
            file.write(json.dumps([seed, block, counts, tally.failures, tally.seconds]) + "\n")


def _finished(part: Path | None, seed: int) -> dict[int, Tally]:
    """The blocks that a stopped run has finished."""
    if part is None or not part.is_file():
        return {}
    lines = [json.loads(line) for line in part.read_text(encoding="utf-8").splitlines()]
    return {
        block: Tally({(family, budgets, name): count for family, budgets, name, count in counts}, failures, seconds)
        for own, block, counts, failures, seconds in lines
        if own == seed
    }


def as_csv(counts: dict[tuple[str, int, str], int], seed: int, seconds: float) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    env = environment()
    writer.writerow(("family", "budgets", *COUNTS, "seed", "cpu_seconds", *env))
    for family, n_budgets in itertools.product(FAMILIES, (1, 2, 3)):
        own = [counts.get((family, n_budgets, name), 0) for name in COUNTS]
        writer.writerow((family, n_budgets, *own, seed, round(seconds), *env.values()))
    return file.getvalue()


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw, solve and judge; 1 where anything failed."""
    command = Command(__doc__)
    command.whole("--problems", 100_000, "problems to draw")
    command.whole("--processes", 2, "that share the blocks")
    command.whole("--seed", 0, "of the draws", at_least=0)
    command.whole("--block", None, "this block alone", at_least=0)
    command.whole("--minutes", None, "to stop after; the rest waits for the next call")
    command.flag("--twice", "solve each problem again without the compiled kernels")
    command.file("--output", help="write the counts as CSV")
    return command.run(arguments, _run)


def _run(options: argparse.Namespace) -> int:
    blocks = range(-(-options.problems // BLOCK)) if options.block is None else [options.block]
    until = math.inf if options.minutes is None else time.monotonic() + 60 * options.minutes
    tasks = [
        (options.seed, block, min(BLOCK, options.problems - block * BLOCK), options.twice and is_compiled())
        for block in blocks
    ]
    part = None if options.output is None else options.output.with_suffix(".part")
    tallies = _finished(part, options.seed)
    tasks = [task for task in tasks if task[1] not in tallies]
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        for done, (block, tally) in enumerate(pool.imap_unordered(run_block, tasks), 1):
            tallies[block] = tally
            _keep(part, options.seed, block, tally)
            print("\n".join(tally.failures), end="\n" if tally.failures else "", flush=True)
            if done % 20 == 0:
                say(f"{done} of {len(tasks)} blocks")
            if time.monotonic() > until:
                break
    unfinished = len(tallies) < len(blocks)
    counts: collections.Counter[tuple[str, int, str]] = collections.Counter()
    for tally in tallies.values():
        counts.update(tally.counts)
    failures = sum(len(tally.failures) for tally in tallies.values())
    seconds = sum(tally.seconds for tally in tallies.values())
    for name in COUNTS:
        print(f"{name}: {sum(count for key, count in counts.items() if key[2] == name):,}")
    print(f"seconds of CPU: {seconds:,.0f}")
    if options.output is not None and part is not None and not unfinished:
        write_text(options.output, as_csv(counts, options.seed, seconds))
        part.unlink(missing_ok=True)
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
