"""Runs every solver on every problem, and writes down at once what each said."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from ..common.checks import check_count, check_positive
from ..errors import InvalidInput
from ..solvers import available
from .asking import NOT_TAKEN, ask, solver_of
from .environment import environment
from .tabular import append_rows, read_rows
from .worker import Worker

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

    from ..solvers import Problem
    from .problems import BenchProblem
    from .worker import Record

RESULTS_FILE = "results.csv"
# CPU seconds and claim by problem, digest of its file, solver, limit and round.
Held: TypeAlias = dict[tuple[str, str, str, str, str], tuple[float, str]]
_WHAT = ("problem", "content", "family", "groups", "solver", "round", "limit")
FIELDS = (
    *(*_WHAT, "claim", "value", "bound", "tolerance", "ground", "holds", "excess"),
    *("cpu", "wall", "peak_bytes", "note"),
)
SLOW = 1.0  # CPU seconds beyond which a problem is solved once
_ALWAYS = (NOT_TAKEN, "ended", "crashed")  # once is enough, however short it was


def run_bench(
    problems: Sequence[BenchProblem],
    solvers: Sequence[str] = (),
    *,
    folder: str | os.PathLike[str],
    rounds: int = 3,
    seconds: float = 10.0,
    own_process: bool = False,
    progress: Callable[[int, int | None], None] | None = None,
) -> Path:
    """Solve every problem with every solver, and keep a line for each solve in ``results.csv``.

    Each solver runs in a process of its own. For each problem the solvers take turns, round after round, and another
    one begins each time; what takes longer than a second of CPU time is solved once. What the file holds already is not
    solved again, so a run that was stopped goes on where it was.

    Parameters
    ----------
    problems
        As `problems_of` makes them.
    solvers
        Names, or classes of your own as ``module:Class`` or ``file.py:Class``; by default every solver that can run
        here.
    folder
        Where the file is.
    rounds
        How often each problem is solved.
    seconds
        Wall time of each solve.
    own_process
        Whether each solve shall run in a process of its own, so that its peak memory is that of this solve alone.
    progress
        Called with the solves done and those in all.

    Returns
    -------
    path
        The results file.

    Raises
    ------
    InvalidInput
        When a solver cannot be found or run here, or is named twice, or a number makes no sense.
    """
    check_count("rounds", rounds, 1)
    check_positive("seconds", seconds)
    specs = list(solvers) or [name for name, reason in available().items() if reason is None]
    for at, spec in enumerate(specs):
        if spec in specs[:at]:
            raise InvalidInput(f"solver {spec!r} is named twice: name it once")
        solver_of(spec)
    path = Path(folder) / RESULTS_FILE
    run = _Run(path, seconds, own_process, _held(path))
    makers = partial(_make, {each.name: each for each in problems})
    workers = {spec: Worker(partial(ask, spec), makers) for spec in specs}
    done, total = 0, len(problems) * len(specs) * rounds
    try:
        for at, problem in enumerate(problems):
            for number in range(rounds):
                turn = (at + number) % len(specs)
                for spec in specs[turn:] + specs[:turn]:
                    run.measure(problem, spec, number, workers[spec])
                    done += 1
                    if progress is not None:
                        progress(done, total)
    finally:
        for worker in workers.values():
            worker.close()
    return path


def _make(problems: dict[str, BenchProblem], name: str) -> Problem:
    return problems[name].make()


def _held(path: Path) -> Held:
    """What a file holds."""
    held: Held = {}
    for row in read_rows(path):
        missing = [name for name in FIELDS if name not in row]
        if missing:
            raise InvalidInput(
                f"{str(path)!r} lacks the column {missing[0]!r}: it is no results file of this version; name another "
                "folder"
            )
        key = row["problem"], row["content"], row["solver"], row["limit"], row["round"]
        held[key] = float(row["cpu"]), row["claim"]
    return held


@dataclass(frozen=True)
class _Run:
    """The file, and what it holds already."""

    path: Path
    seconds: float
    own_process: bool
    held: Held

    def measure(self, problem: BenchProblem, spec: str, number: int, worker: Worker) -> None:
        """Solve once, unless that is in the file or the first round was too long to be repeated."""
        what = problem.name, problem.content, spec, f"{self.seconds:g}"
        if (*what, str(number)) in self.held:
            return
        cpu, claim = self.held.get((*what, "0"), (0.0, ""))
        if number and (cpu > SLOW or claim in _ALWAYS):
            return
        record = worker.solve(problem.name, self.seconds)
        if self.own_process:
            worker.close()
        self.held[*what, str(number)] = record["cpu"], record["claim"]
        names = {"problem": problem.name, "content": problem.content, "family": problem.family, "solver": spec}
        self._append({**names, "round": number, **record})

    def _append(self, record: Record) -> None:
        facts = environment()
        shown = {name: f"{record[name]:.6g}" for name in ("cpu", "wall")}
        row = {**record, **shown, "limit": f"{self.seconds:g}", **facts}
        append_rows(self.path, (*FIELDS, *facts), [row])
