"""Random problems of every shape against plain answers: nothing wrong, nothing over budget, every certificate holds.

    python -m benchmarks.solvers.fuzz [--problems 100000] [--seed 0] [--processes 2] [--block B]
        [--output benchmarks/results/fuzz.csv]

Problems have one to three budgets and values scaled by 1e-12 to 1e12. Their families: tables drawn entry by entry, with
ties, dominated and repeated choices, common factors, huge costs and budgets at the edge; networks; and the families of
the knapsack literature. Those with at most 20,000 selections are held against brute force, those whose budgets span at
most 40,000 cells against a table over every budget; of larger ones budgets, proof and certificate are checked. All
checks are made without the project's arithmetic. Block b of a run is drawn from (seed, b), so a failure, which is
printed, can be repeated alone: --block b. With --output a run that was stopped goes on where it was: what is finished
waits beside FILE, in a file that ends in .part.
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
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mckp_quant.common.files import write_text
from mckp_quant.solvers import Problem, Solution, Status, instances, solve

from ..command_line import Command, say
from ..environment import environment
from .oracle import optimum

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

BLOCK = 500
SECONDS = 120.0
LARGEST_EXACT_BOUND = 400  # choices up to which the bound is recomputed in rational numbers
PISINGER = ("uncorrelated", "weakly correlated", "strongly correlated", "subset-sum", "zigzag")
FAMILIES = ("drawn", "drawn larger", "network", *PISINGER, "several budgets")
COUNTS = ("problems", "against an oracle", "infeasible", "not proved", "wrong", "over budget", "certificate fails")


class Tally(NamedTuple):
    """What a block found: counts by (family, budgets, name of the count), failures in words, seconds of CPU."""

    counts: dict[tuple[str, int, str], int]
    failures: list[str]
    seconds: float


def draw(rng: np.random.Generator, family: str, n_budgets: int) -> Problem:
    """A problem of a family, scaled by a power of ten."""
    seed = int(rng.integers(2**31))
    if family in ("drawn", "drawn larger"):
        problem = _drawn(rng, n_budgets, larger=family == "drawn larger")
    elif family == "network":
        bits = ((2, 4, 8), (2, 3, 4, 8), (2, 3, 4, 5, 6, 7, 8))[rng.integers(3)]
        n_groups = int(rng.integers(2, 30))
        layers = instances.llm(n_groups) if rng.random() < 0.3 else instances.lognormal(n_groups, seed=seed)
        share = float(rng.uniform(0.05, 0.95))
        problem = instances.quantisation(layers, bits, share=share, seed=seed, n_budgets=n_budgets)
    elif family == "several budgets":
        size = int(rng.integers(2, 9)), int(rng.integers(2, 6))
        problem = instances.several_budgets(*size, n_budgets, reach=int(rng.integers(1, 12)), seed=seed)
    else:
        make = getattr(instances, family.replace(" ", "_").replace("-", "_"))
        size = int(rng.integers(2, 13)), int(rng.integers(2, 8))
        problem = make(*size, reach=int(rng.choice([5, 100, 1000, 10_000])), seed=seed)
        problem = _with_more_budgets(rng, problem, n_budgets)
    scale = 10.0 ** rng.uniform(-12, 12)
    return Problem(problem.value * scale, problem.cost, problem.budget, problem.start, problem.label)


def _drawn(rng: np.random.Generator, n_budgets: int, *, larger: bool) -> Problem:
    size = rng.integers(1, 7, int(rng.integers(5, 26) if larger else rng.integers(1, 8)))
    start = np.concatenate([[0], np.cumsum(size)])
    n = int(start[-1])
    cost = np.array([_costs(rng, n, small=larger) for _ in range(n_budgets)])
    kind = rng.integers(5)
    value = (
        rng.integers(-3, 4, n).astype(np.float64),
        rng.normal(size=n),
        rng.integers(1, 1000, n) * 10.0 ** rng.integers(-8, 5, n),
        -cost[0].astype(np.float64),
        np.zeros(n),
    )[kind]
    if rng.random() < 0.3:  # the last choice of each group repeats the first one
        value[start[1:] - 1], cost[:, start[1:] - 1] = value[start[:-1]], cost[:, start[:-1]]
    label = np.concatenate([rng.permutation(3 * count)[:count] - 1 for count in size])
    return Problem(value, cost, np.array([_budget(rng, row, start) for row in cost]), start, label)


def _costs(rng: np.random.Generator, n: int, *, small: bool) -> NDArray[np.int64]:
    kind = rng.integers(2 if small else 6)
    if kind == 0:
        return rng.integers(0, 6, n)
    if kind == 1:
        return rng.integers(0, 3 if small else 1001, n)
    if kind == 2:
        return 10**12 + rng.integers(0, 10**6, n)
    if kind == 3:
        return rng.integers(0, 2**56, n)
    if kind == 4:
        return int(rng.choice([2, 6, 1000, 2**40])) * rng.integers(0, 21, n)
    return np.zeros(n, dtype=np.int64)


def _budget(rng: np.random.Generator, row: NDArray[np.int64], start: NDArray[np.int64]) -> int:
    least, most = (int(reduce.reduceat(row, start[:-1]).sum()) for reduce in (np.minimum, np.maximum))
    kind = rng.integers(10)
    if kind < 4:
        return int(rng.integers(least, most + 1))
    if kind < 7:
        return int(row[rng.integers(start[:-1], start[1:])].sum())
    return (least, least - 1, most)[kind - 7]


def _with_more_budgets(rng: np.random.Generator, problem: Problem, n_budgets: int) -> Problem:
    more = rng.integers(0, 101, (n_budgets - 1, problem.n_choices))
    cost = np.concatenate([problem.cost, more])
    budget = [*problem.budget.tolist(), *(_budget(rng, row, problem.start) for row in more)]
    return Problem(problem.value, cost, np.array(budget), problem.start, problem.label)


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
    price = [Fraction(each) for each in certificate.price.tolist()]
    values, costs = problem.value.tolist(), problem.cost.tolist()
    groups = list(itertools.pairwise(problem.start.tolist()))
    total, room = Fraction(0), []
    for own, row, limit in zip(price, costs, problem.budget.tolist(), strict=True):
        least = sum(min(row[low:high]) for low, high in groups)
        divisor = math.gcd(*(each - min(row[low:high]) for low, high in groups for each in row[low:high]))
        room.append(limit - least - ((limit - least) % divisor if divisor else 0))
        total -= own * (least + room[-1])
    for low, high in groups:
        most = [left + min(row[low:high]) for left, row in zip(room, costs, strict=True)]
        total += min(
            Fraction(values[at]) + sum((own * row[at] for own, row in zip(price, costs, strict=True)), Fraction(0))
            for at in range(low, high)
            if all(row[at] <= limit for row, limit in zip(costs, most, strict=True))
        )
    return Fraction(certificate.bound) <= total


def run_block(task: tuple[int, int, int]) -> tuple[int, Tally]:
    """The block and what its problems showed, of (seed, block, how many)."""
    seed, block, problems = task
    began = time.process_time()
    rng = np.random.default_rng([seed, block])
    counts: collections.Counter[tuple[str, int, str]] = collections.Counter()
    failures = []
    for index in range(problems):
        family, n_budgets = str(rng.choice(FAMILIES)), int(rng.integers(1, 4))
        problem = draw(rng, family, n_budgets)
        where = f"seed {seed}, block {block}, problem {index} ({family}, {n_budgets} budgets)"
        try:
            found = judge(problem, solve(problem, seconds=SECONDS), optimum(problem))
        except Exception as error:  # noqa: BLE001  a crash is a finding
            found = ["problems", "wrong"]
            where += f": {type(error).__name__}: {error}"
        counts.update((family, n_budgets, name) for name in found)
        if failing := [name for name in found if name in COUNTS[3:]]:
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
    command.file("--output", help="write the counts as CSV")
    return command.run(arguments, _run)


def _run(options: argparse.Namespace) -> int:
    blocks = range(-(-options.problems // BLOCK)) if options.block is None else [options.block]
    tasks = [(options.seed, block, min(BLOCK, options.problems - block * BLOCK)) for block in blocks]
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
    counts: collections.Counter[tuple[str, int, str]] = collections.Counter()
    for tally in tallies.values():
        counts.update(tally.counts)
    failures = sum(len(tally.failures) for tally in tallies.values())
    seconds = sum(tally.seconds for tally in tallies.values())
    for name in COUNTS:
        print(f"{name}: {sum(count for key, count in counts.items() if key[2] == name):,}")
    print(f"seconds of CPU: {seconds:,.0f}")
    if options.output is not None and part is not None:
        write_text(options.output, as_csv(counts, options.seed, seconds))
        part.unlink(missing_ok=True)
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
