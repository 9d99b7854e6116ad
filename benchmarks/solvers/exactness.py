"""How often solvers call a wrong selection optimal, as losses shrink; and how often they break a budget.

    python -m benchmarks.solvers.exactness run [--seeds 6] [--seconds 10] [--csv FILE]
    python -m benchmarks.solvers.exactness page [--csv FILE] [--fuzz FILE] [--page docs/exactness.md]

`run` scales the losses of ResNet-50-like allocations so that the optimum equals 1, 1e-3, ... 1e-9, which changes the
unit and nothing else, and asks every solver. It then takes language-model-like allocations whose costs have no common
divisor and sets the budget one bit below what the optimum of a looser budget needs. Answers are compared with the
optimum at natural scale, on which three algorithms agree: the exact solver, the whole Pareto front, and CP-SAT at
2**50. Every answer is recomputed in exact integers. Solvers run one after the other, each in a process of its own.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import multiprocessing
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from mckp_quant.bench.worker import exact_value
from mckp_quant.common.files import write_text
from mckp_quant.solvers import Problem, Status, front, instances, solve

from ..command_line import Command, require_file, say
from ..environment import environment
from ..pages import DOCS, RESULTS, fill, read_rows, table
from . import raw
from .library import BITS
from .measurements import ANOTHER
from .worker import run as run_solver

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence
    from pathlib import Path

SCALES = (1.0, 1e-3, 1e-5, 1e-7, 1e-9)
RAW = ("raw cbc", "raw highs default", "raw highs", "raw scip", "raw cp_sat 1e6", "raw cp_sat float", "raw cp_sat")
OURS = ("pulp", "highs", "cp_sat", "exact")
TITLES = {
    "raw cbc": "CBC",
    "raw highs default": "HiGHS",
    "raw highs": "HiGHS, gap 0",
    "raw scip": "SCIP",
    "raw cp_sat 1e6": "CP-SAT, 1e6",
    "raw cp_sat float": "CP-SAT, float",
    "raw cp_sat": "CP-SAT, 2^50",
}


@dataclasses.dataclass(frozen=True)
class Case:
    """A problem whose optimum is known to be `optimum`."""

    family: str
    seed: int
    scale: float
    problem: Problem
    optimum: float


def cases(seeds: int) -> Iterator[Case]:
    """Every problem of the two tables."""
    for seed in range(seeds):
        natural = instances.quantisation(instances.resnet50(), BITS[4], share=0.5, seed=seed)
        selection = optimal_selection(natural)
        for scale in SCALES:
            yield _scaled("scale", seed, scale, natural, selection)
    for seed in range(seeds):
        tight = one_bit_short(seed)
        yield _scaled("one bit short", seed, 1.0, tight, optimal_selection(tight))


def _scaled(family: str, seed: int, scale: float, natural: Problem, selection: np.ndarray) -> Case:
    factor = scale / math.fsum(natural.value[selection].tolist())
    problem = Problem(natural.value * factor, natural.cost, natural.budget, natural.start, natural.label)
    return Case(family, seed, scale, problem, math.fsum(problem.value[selection].tolist()))


def one_bit_short(seed: int) -> Problem:
    """224 tensors with an odd overhead each, and one bit less than the optimum of a looser budget uses."""
    elements = instances.llm(224).elements + 2 * np.random.default_rng(seed).integers(1, 5000, 224) + 1
    odd = instances.quantisation(instances.Layers(elements, elements), BITS[4], share=0.5, seed=seed)
    used = solve(odd).require().cost[0]
    return odd.with_budget(used - 1)


def optimal_selection(problem: Problem) -> np.ndarray:
    """Positions of the optimum, on which exact, the front and CP-SAT must agree where they finish."""
    solution = solve(problem).require()
    if solution.status is not Status.OPTIMAL:
        raise SystemExit(f"exact: {solution.status.value}")
    said = raw.cp_sat(problem, 60.0)
    others = {"the front": float(front(problem, max_points=None).value[-1])} if problem.n_groups < 100 else {}
    if said.optimal and said.choice is not None:
        others["CP-SAT"] = exact_value(problem, said.choice)
    for name, value in others.items():
        if not math.isclose(value, solution.value, rel_tol=1e-12):
            raise SystemExit(f"exact says {solution.value!r}, {name} says {value!r}")
    assert solution.choice is not None
    return problem.position(solution.choice)


def ask(solver: str, seeds: int, seconds: float) -> list[dict[str, Any]]:
    """What a solver says of every case."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # some solvers print whatever they are told
    found = []
    for case in cases(seeds):
        record = run_solver(solver, case.problem, seconds)()
        value = record.get("value", math.nan)
        found.append(
            {
                "solver": solver,
                "family": case.family,
                "seed": case.seed,
                "scale": case.scale,
                "claim": record["claim"],
                "excess_value": (value - case.optimum) / case.optimum,
                "over_budget": record.get("excess", 0),
            }
        )
    return found


def run(seeds: int, seconds: float, path: Path) -> None:
    """Ask every solver about every case, and write what each said."""
    rows: list[dict[str, Any]] = []
    for solver in (*RAW, *OURS):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            rows += pool.apply(ask, (solver, seeds, seconds))
        wrong = sum(_is_wrong(row) for row in rows if row["solver"] == solver)
        say(f"{solver}: {wrong} wrong")
    file = io.StringIO()
    writer = csv.DictWriter(file, (*rows[0], *environment()), lineterminator="\n")
    writer.writeheader()
    writer.writerows(row | environment() for row in rows)
    write_text(path, file.getvalue())


def _is_wrong(row: dict[str, Any]) -> bool:
    """Whether the solver called it optimal although it is worse than the optimum or over a budget."""
    return row["claim"] == "optimal" and (float(row["excess_value"]) > ANOTHER or int(row["over_budget"]) > 0)


def _cell(rows: list[dict[str, Any]]) -> str:
    """How many answers are wrong, with the worst excess, and how many are unproved or refused."""
    wrong = [float(row["excess_value"]) for row in rows if _is_wrong(row)]
    open_ = sum(row["claim"] not in ("optimal", "refused") for row in rows)
    refused = sum(row["claim"] == "refused" for row in rows)
    text = f"{len(wrong)} of {len(rows)}"
    if wrong and max(wrong) > ANOTHER:
        text += f" ({_size(max(wrong))})"
    return text + (f", {open_} unproved" if open_ else "") + (f", {refused} refused" if refused else "")


def _size(excess: float) -> str:
    if excess >= 1:
        return f"{excess + 1:.{1 if excess < 9 else 0}f}x"
    return f"{100 * excess:.2g} %"


def page(path: Path, fuzz: Path, target: Path) -> None:
    """Write the tables of docs/exactness.md from the results of both commands."""
    rows = read_rows(path)
    made = sorted({(row["date"], row["commit"], row["versions"]) for row in rows})
    stamp = "; ".join(f"{date}, commit {commit or 'unknown'}, {versions}" for date, commit, versions in made)

    def of(solver: str, family: str, scale: float) -> str:
        chosen = [r for r in rows if r["solver"] == solver and r["family"] == family and float(r["scale"]) == scale]
        return _cell(chosen)

    scales = [
        table(
            ("optimum", *(TITLES.get(name, name) for name in names)),
            [(f"{scale:g}", *(of(name, "scale", scale) for name in names)) for scale in SCALES],
        )
        for names in (RAW, OURS)
    ]
    short = []
    for name in (*RAW, *OURS):
        own = [row for row in rows if row["solver"] == name and row["family"] == "one bit short"]
        broken = [int(row["over_budget"]) for row in own if int(row["over_budget"]) > 0]
        most = f" (by {max(broken)} bit{'s' if max(broken) > 1 else ''})" if broken else ""
        short.append((f"raw {TITLES[name]}" if name in RAW else name, f"{len(broken)} of {len(own)}{most}", _cell(own)))
    parts = {
        "made": stamp + ".",
        "raw": scales[0],
        "ours": scales[1],
        "budget": table(("solver", "over budget", "called optimal and wrong"), short),
    }
    if fuzz.is_file():
        parts["fuzz"] = _fuzz(fuzz)
    fill(target, parts)


def _fuzz(path: Path) -> str:
    rows = read_rows(path)
    names = ("problems", "against an oracle", "infeasible", "not proved", "wrong", "over budget", "certificate fails")
    lines = []
    for family in dict.fromkeys(row["family"] for row in rows):
        own = [row for row in rows if row["family"] == family]
        lines.append((family, *(f"{sum(int(row[name]) for row in own):,}" for name in names)))
    total = tuple(f"{sum(int(row[name]) for row in rows):,}" for name in names)
    first = rows[0]
    head = (
        f"    python -m benchmarks.solvers.fuzz --problems {sum(int(row['problems']) for row in rows)} "
        f"--seed {first['seed']}\n\n"
        f"{first['date']}, commit {first['commit'] or 'unknown'}, {first['versions']}; "
        f"{int(first['cpu_seconds']):,} seconds of CPU, two busy cores, 120 seconds of wall time for each problem.\n\n"
    )
    return head + table(("family", *names), [*lines, ("**all**", *total)])


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, or write the page; 0."""
    command = Command(__doc__, ("run", "page"))
    command.whole("--seeds", 6, "problems in each cell")
    command.seconds("--seconds", 10.0, "limit for each")
    command.file("--csv", RESULTS / "exactness.csv", "the results")
    command.file("--fuzz", RESULTS / "fuzz.csv", "the results of benchmarks.solvers.fuzz, where there are any")
    command.file("--page", DOCS / "exactness.md", "the page to fill")
    return command.run(arguments, _run)


def _run(options: argparse.Namespace) -> int:
    if options.action == "run":
        run(options.seeds, options.seconds, options.csv)
        return 0
    require_file("--csv", options.csv, "benchmarks.solvers.exactness run")
    page(options.csv, options.fuzz, options.page)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
