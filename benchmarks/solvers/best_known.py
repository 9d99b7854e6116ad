"""The best value known of every instance of the library, and who proves it.

    python -m benchmarks.solvers.best_known list [--instances FOLDER]
    python -m benchmarks.solvers.best_known check [--instances FOLDER] [--only TEXT] [--seconds 60]
    python -m benchmarks.solvers.best_known prove [--instances FOLDER] [--only TEXT] [--seconds 60]

`check` solves every instance anew and compares with `best_known.csv`; `prove` writes that file. A value there is the
exact solver's, proved by it; where HiGHS or CP-SAT can search the reduced core of a small instance in two seconds, the
file says that they agree. Values of generated instances may differ in the last digits on another machine, so they are
compared to 1e-9; costs and budgets are integers, and their digest must be the same everywhere.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
from pathlib import Path
from typing import TYPE_CHECKING

from mckp_quant.common.files import write_text
from mckp_quant.solvers import Status, solve

from ..command_line import Command, WrongInput
from ..pages import read_rows
from .library import library

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from mckp_quant.solvers import Problem

    from .library import Instance

BEST_KNOWN = Path(__file__).parent / "best_known.csv"
LARGEST_CHECKED = 4000  # choices up to which HiGHS and CP-SAT are asked, too


def digest(problem: Problem) -> str:
    """Twelve hexadecimal digits of the integers of a problem."""
    parts = (problem.start, problem.label, problem.cost, problem.budget)
    return hashlib.sha256(b"".join(each.astype("<i8").tobytes() for each in parts)).hexdigest()[:12]


@dataclasses.dataclass(frozen=True)
class Best:
    """A line of the file of best known values."""

    name: str
    digest: str
    groups: int
    choices: int
    budgets: int
    value: float
    bound: float
    proof: str
    call: str

    @property
    def proved(self) -> bool:
        """Whether the value is known to be the optimum."""
        return self.proof.startswith("exact")


def best_known() -> dict[str, Best]:
    """The lines of the file, by the name of the instance; none where there is no file."""
    lines = [
        Best(
            name=row["name"],
            digest=row["digest"],
            groups=int(row["groups"]),
            choices=int(row["choices"]),
            budgets=int(row["budgets"]),
            value=float(row["value"]),
            bound=float(row["bound"]),
            proof=row["proof"],
            call=row["call"],
        )
        for row in read_rows(BEST_KNOWN)
    ]
    return {each.name: each for each in lines}


def prove(instance: Instance, seconds: float) -> Best:
    """Solve with the exact solver, and have HiGHS and CP-SAT search the core, too, where that is quick."""
    problem = instance.make()
    solution = solve(problem, seconds=seconds).require()
    proof = "best found"
    if solution.status is Status.OPTIMAL:
        proof = f"exact: {solution.certificate.ground}"
        others = []
        for name in ("highs", "cp_sat") if problem.n_choices < LARGEST_CHECKED else ():
            other = solve(problem, name, seconds=min(seconds, 2.0))
            if other.status is Status.OPTIMAL:
                if abs(other.value - solution.value) > 1e-12 * abs(solution.value):
                    raise SystemExit(f"{instance.name}: exact says {solution.value!r}, {name} says {other.value!r}")
                others.append(name)
        proof += "".join(f", {name} agrees" for name in others)
    value = solution.value
    if solution.status is not Status.OPTIMAL and instance.published is not None and instance.published < value:
        value, proof = instance.published, "published"
    return Best(
        instance.name,
        digest(problem),
        problem.n_groups,
        problem.n_choices,
        problem.n_resources,
        value,
        solution.bound,
        proof,
        instance.call,
    )


def _write(lines: dict[str, Best]) -> None:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    names = [field.name for field in dataclasses.fields(Best)]
    writer.writerow(names)
    writer.writerows([getattr(each, name) for name in names] for each in lines.values())
    write_text(BEST_KNOWN, file.getvalue())


def check(instance: Instance, known: Best, seconds: float) -> str | None:
    """What is wrong with the entry of an instance, or None."""
    problem = instance.make()
    if digest(problem) != known.digest:
        return f"its integers have the digest {digest(problem)}, the file says {known.digest}"
    solution = solve(problem, seconds=seconds)
    near = 1e-9 * abs(known.value)
    if known.proved and (solution.status is not Status.OPTIMAL or abs(solution.value - known.value) > near):
        return f"found {solution.value!r}, {solution.status.value}; the file says {known.value!r}, {known.proof}"
    if solution.value < known.bound - near:
        return f"found {solution.value!r}, below the bound {known.bound!r} of the file"
    return None


def main(arguments: Sequence[str] | None = None) -> int:
    """List, check or prove the best known values; 1 where one of them is wrong."""
    command = Command(__doc__, ("list", "check", "prove"))
    command.folder("--instances", help="published problems", exists=True)
    command.text("--only", help="instances whose name contains TEXT")
    command.seconds("--seconds", 60.0, "limit for each")
    return command.run(arguments, _run)


def _run(options: argparse.Namespace) -> int:
    chosen = {name: each for name, each in library(options.instances).items() if options.only in name}
    if not chosen:
        raise WrongInput(f"--only {options.only!r}: no instance has that in its name")
    if options.action == "list":
        for each in chosen.values():
            print(f"{each.name}: {each.call}")
        return 0
    known = best_known()
    wrong = 0
    for name, each in chosen.items():
        if options.action == "prove":
            known[name] = prove(each, options.seconds)
            print(f"{name}: {known[name].value!r}, {known[name].proof}", flush=True)
            _write(known)
        else:
            said = check(each, known[name], options.seconds) if name in known else "it has no entry: run prove"
            wrong += said is not None
            print(f"{name}: {said or 'as stated'}", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
