"""Every solver on every instance: CPU seconds, what was claimed, and whether it was true.

    python -m benchmarks.solvers.compare run [--instances FOLDER] [--only TEXT] [--csv FILE] [--fresh] [--quick]
    python -m benchmarks.solvers.compare page [--csv FILE] [--page docs/benchmarks.md]
    python -m benchmarks.solvers.compare plan

`run` measures what the plan names and the CSV file does not hold yet, so a run that was stopped goes on where it was;
--fresh begins anew. `page` writes the tables of the page from the file. Protocol: one process for each solver; for each
instance the solvers take turns, several rounds; CPU time, one thread; a time limit for each solve. --quick takes
one round with the first seed only.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.environment import environment
from benchmarks.solvers.instances import GROWING, library
from benchmarks.solvers.raw import RAW
from benchmarks.solvers.worker import Worker
from mckp_quant.solvers import available

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.solvers.instances import Instance
    from benchmarks.solvers.worker import Record

RESULTS = Path(__file__).parents[1] / "results" / "solvers.csv"
PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"
_WHAT = ("instance", "family", "groups", "solver", "round", "limit")
FIELDS = (*_WHAT, "claim", "value", "bound", "excess", "points", "cpu", "wall", "peak_bytes", "note")

REDUCED = ("cp_sat", "highs", "pulp")
PLAIN = ("greedy", "relax", "evolve")
GENERAL = ("raw cp_sat", "raw highs", "raw cbc", "raw scip")
SLOW = 0.15  # CPU seconds beyond which an instance is solved once


@dataclasses.dataclass(frozen=True)
class Row:
    """Instances of a family, the solvers that meet on them, rounds and limit; `fresh` starts a process for each."""

    family: str
    solvers: tuple[str, ...]
    rounds: int = 5
    seconds: float = 10.0
    only: str = ""
    fresh: bool = False


def plan() -> list[Row]:
    """What is measured, family by family."""
    rows = [
        Row(family, ("exact", *PLAIN, *REDUCED, *GENERAL))
        for family in ("ResNet-50 54x4", "ResNet-50 54x7", "LLM 224x4")
    ]
    for family in ("LLM 224x7", "lognormal 500x7"):
        rows.append(Row(family, ("exact", *PLAIN, *REDUCED)))
        rows.append(Row(family, ("exact", *GENERAL), only="seed 0"))
    for network in ("ResNet-50 54x4", "ResNet-50 54x7", "LLM 224x4"):
        for n_budgets in (2, 3):
            for family in (f"{network}, {n_budgets} budgets", f"{network}, {n_budgets} budgets, fresh"):
                rows.append(Row(family, ("exact", *REDUCED, *GENERAL), rounds=3))
    for n_budgets in (2, 3):
        rows.append(Row(f"lognormal 54x4, {n_budgets} budgets, fresh", ("exact", *REDUCED, *GENERAL), rounds=3))
    rows.append(
        Row("several_budgets 30x10, 5 budgets", ("exact", "cp_sat", "raw cp_sat", "raw highs"), rounds=1, seconds=5.0)
    )
    for size in GROWING:
        rows.append(Row(f"growing {size}x7", tuple(_growing(size)), rounds=3))
    rows.append(Row("LLM 1,000,000x4", ("exact",), rounds=2, seconds=60.0, fresh=True))
    rows.append(Row("odd 54x16", ("exact",), rounds=3, fresh=True))
    rows.append(Row("front of ResNet-50 54x7", ("front",)))
    rows.append(Row("points of that front", ("exact", "raw cp_sat"), rounds=3))
    for family in ("uncorrelated", "weakly_correlated", "strongly_correlated", "subset_sum", "zigzag"):
        for reach in (1000, 10_000):
            rows.append(Row(f"{family} 100x10, R = {reach}", ("exact", "cp_sat"), rounds=3, seconds=5.0))
            general = ("exact", "raw cp_sat", "raw highs")
            rows.append(Row(f"{family} 100x10, R = {reach}", general, rounds=1, seconds=5.0, only="seed 0"))
            rows.append(Row(f"{family} 1000x10, R = {reach}", ("exact",), rounds=3, seconds=20.0))
            if family == "strongly_correlated":
                rows.append(Row(f"{family} 10000x10, R = {reach}", ("exact",), rounds=1, seconds=20.0))
    rows.append(Row("HAWQ-V3 ResNet-18", ("exact", *GENERAL), rounds=3))
    rows.append(Row("Khan", ("exact",), rounds=1, seconds=60.0))
    return rows


def _growing(size: int) -> Iterator[str]:
    """Who takes part at this size: general solvers leave where they no longer finish."""
    yield "exact"
    yield from ("greedy", "relax")
    if size <= 5000:
        yield from REDUCED
    if size <= 1000:
        yield from ("evolve", "raw cp_sat", "raw cbc")
    if size <= 500:
        yield from ("raw highs", "raw scip")


@dataclasses.dataclass(frozen=True)
class Bench:
    """A run: the library, the file, and what it holds already."""

    folder: Path | None
    path: Path
    done: dict[tuple[str, str, str], float]

    def row(self, row: Row, quick: bool) -> None:
        """Measure what is missing of a row."""
        instances = [each for each in library(self.folder).values() if each.family == row.family]
        instances = [each for each in instances if row.only in each.name and (not quick or "seed 1" not in each.name)]
        workers = {name: Worker(name, self.folder) for name in row.solvers if _can_run(name)}
        try:
            for instance in instances:
                for number in range(1 if quick else row.rounds):
                    for name, worker in workers.items():
                        self._measure(row, instance, name, worker, number)
        finally:
            for worker in workers.values():
                worker.close()

    def _measure(self, row: Row, instance: Instance, name: str, worker: Worker, number: int) -> None:
        if (instance.name, name, str(number)) in self.done:
            return
        if self.done.get((instance.name, name, "0"), 0.0) > SLOW and not row.fresh:
            return
        record = worker.solve(instance.name, row.seconds)
        if row.fresh:
            worker.close()
        self.done[instance.name, name, str(number)] = record["cpu"]
        say(f"{instance.name}: {name}: {record['claim']}, {record['cpu']:.4g} s")
        self._append({**record, "instance": instance.name, "family": row.family, "solver": name, "round": number}, row)

    def _append(self, record: Record, row: Row) -> None:
        env = environment()
        begins = not self.path.exists()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, (*FIELDS, *env), lineterminator="\n", restval="")
            if begins:
                writer.writeheader()
            times = {name: f"{record[name]:.6g}" for name in ("cpu", "wall")}
            writer.writerow({**record, **times, "limit": row.seconds, **env})


def _can_run(solver: str) -> bool:
    if solver == "raw scip":
        try:
            import pyscipopt  # noqa: F401
        except ImportError:
            return False
    return solver in RAW or solver == "front" or available().get(solver, "unknown") is None


def measured(path: Path) -> dict[tuple[str, str, str], float]:
    """What the file holds: CPU seconds by instance, solver and round."""
    if not path.exists():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        return {(row["instance"], row["solver"], row["round"]): float(row["cpu"]) for row in csv.DictReader(file)}


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["run", "page", "plan"])
    parser.add_argument("--instances", type=Path, metavar="FOLDER", help="published problems")
    parser.add_argument("--only", default="", metavar="TEXT", help="families whose name contains TEXT")
    parser.add_argument("--csv", type=Path, default=RESULTS, metavar="FILE")
    parser.add_argument("--page", type=Path, default=PAGE, metavar="FILE")
    parser.add_argument("--fresh", action="store_true", help="forget what the CSV file holds")
    parser.add_argument("--quick", action="store_true", help="one round")
    options = parser.parse_args(arguments)
    if options.instances is not None and not options.instances.is_dir():
        say(f"--instances {options.instances}: there is no such folder")
        return 2
    rows = [row for row in plan() if options.only in row.family]
    if not rows:
        say(f"--only {options.only!r}: no family has that in its name")
        return 2
    if options.command == "plan":
        for row in rows:
            print(f"{row.family}: {', '.join(row.solvers)}; {row.rounds} rounds, {row.seconds:g} s")
        return 0
    if options.command == "page":
        if not options.csv.is_file():
            say(f"--csv {options.csv}: there is no such file; make it with: python -m benchmarks.solvers.compare run")
            return 2
        from benchmarks.solvers.page import write_page

        write_page(options.csv, options.page)
        return 0
    if options.fresh:
        options.csv.unlink(missing_ok=True)
    bench = Bench(options.instances, options.csv, measured(options.csv))
    for row in rows:
        bench.row(row, options.quick)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
