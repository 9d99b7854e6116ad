"""Every solver on every instance: CPU seconds, what was claimed, and whether it was true.

    python -m benchmarks.solvers.compare run [--instances FOLDER] [--only TEXT] [--csv FILE] [--fresh] [--quick]
    python -m benchmarks.solvers.compare page [--csv FILE] [--page docs/benchmarks.md]
    python -m benchmarks.solvers.compare compiled [--csv FILE] [--page docs/benchmarks.md]
    python -m benchmarks.solvers.compare plan

`run` measures what the plan names and the CSV file does not hold yet, so a run that was stopped goes on where it was;
--fresh begins anew. `page` writes the tables of the page from the file. Protocol: one process for each solver; for each
instance the solvers take turns, several rounds; CPU time, one thread; a time limit for each solve. --quick takes
one round with the first seed only. `compiled` writes one table, from the file of a run with compiled kernels.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from mckp_quant.solvers import available

from ..command_line import Command, WrongInput, require_file, say
from ..environment import environment
from ..pages import DOCS, RESULTS, append_rows, read_rows
from .library import GROWING, library
from .page import GENERAL, PLAIN, REDUCED, write_compiled, write_page
from .raw import RAW
from .worker import Worker

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from mckp_quant.bench.worker import Record

    from .library import Instance

_WHAT = ("instance", "family", "groups", "solver", "round", "limit")
FIELDS = (*_WHAT, "claim", "value", "bound", "excess", "points", "cpu", "wall", "peak_bytes", "note")

SLOW = 0.15  # CPU seconds beyond which an instance is solved once


@dataclasses.dataclass(frozen=True)
class Row:
    """Instances of a family, the solvers to compare on them, rounds and time limit.

    With `own_process` each solve runs in a process of its own, so that peak memory is that of this solve alone.
    """

    family: str
    solvers: tuple[str, ...]
    rounds: int = 5
    seconds: float = 10.0
    only: str = ""
    own_process: bool = False


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
    rows.append(Row("LLM 1,000,000x4", ("exact",), rounds=2, seconds=60.0, own_process=True))
    rows.append(Row("odd 54x16", ("exact",), rounds=3, own_process=True))
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
        if self.done.get((instance.name, name, "0"), 0.0) > SLOW and not row.own_process:
            return
        record = worker.solve(instance.name, row.seconds)
        if row.own_process:
            worker.close()
        self.done[instance.name, name, str(number)] = record["cpu"]
        say(f"{instance.name}: {name}: {record['claim']}, {record['cpu']:.4g} s")
        self._append({**record, "instance": instance.name, "family": row.family, "solver": name, "round": number}, row)

    def _append(self, record: Record, row: Row) -> None:
        env = environment()
        times = {name: f"{record[name]:.6g}" for name in ("cpu", "wall")}
        append_rows(self.path, (*FIELDS, *env), [{**record, **times, "limit": row.seconds, **env}])


def _can_run(solver: str) -> bool:
    if solver == "raw scip":
        try:
            import pyscipopt  # noqa: F401
        except ImportError:
            return False
    return solver in RAW or solver == "front" or available().get(solver, "unknown") is None


def measured(path: Path) -> dict[tuple[str, str, str], float]:
    """What the file holds: CPU seconds by instance, solver and round."""
    return {(row["instance"], row["solver"], row["round"]): float(row["cpu"]) for row in read_rows(path)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write the page, or print the plan; 0."""
    command = Command(__doc__, ("run", "page", "compiled", "plan"))
    command.folder("--instances", help="published problems", exists=True)
    command.text("--only", help="families whose name contains TEXT")
    command.file("--csv", RESULTS / "solvers.csv", "the results")
    command.file("--page", DOCS / "benchmarks.md", "the page to fill")
    command.flag("--fresh", "forget what the CSV file holds")
    command.flag("--quick", "one round")
    return command.run(arguments, _run)


def _run(options: argparse.Namespace) -> int:
    rows = [row for row in plan() if options.only in row.family]
    if not rows:
        raise WrongInput(f"--only {options.only!r}: no family has that in its name")
    if options.action == "plan":
        for row in rows:
            print(f"{row.family}: {', '.join(row.solvers)}; {row.rounds} rounds, {row.seconds:g} s")
        return 0
    if options.action in ("page", "compiled"):
        require_file("--csv", options.csv, "benchmarks.solvers.compare run")
        (write_page if options.action == "page" else write_compiled)(options.csv, options.page)
        return 0
    if options.fresh:
        options.csv.unlink(missing_ok=True)
    bench = Bench(options.instances, options.csv, measured(options.csv))
    for row in rows:
        bench.row(row, options.quick)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
