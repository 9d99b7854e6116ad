"""What was measured, gathered by problem and solver, and held against what is known to be true.

What counts as true of a problem: the best selection that any solver found, since every selection is recomputed in exact
integers; that it is the optimum is known where a certificate was rechecked whose dual gap is closed, or where searches
of two solvers were exhausted at the same value.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .asking import NOT_TAKEN
from .figures import median
from .tabular import read_rows

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

CLOSED = "dual gap closed"
_EXHAUSTED = re.compile(r"search exhausted \((\w+)\)")


@dataclass(frozen=True)
class Measured:
    """One solver on one problem.

    Attributes
    ----------
    problem, family, solver
        Whose measurement it is.
    groups
        How many groups the problem has.
    cpu
        Median CPU seconds over the rounds.
    claim
        ``optimal``, ``feasible``, ``infeasible``, ``none`` (stopped before any selection), ``refused`` (the front door
        found the answer wrong), ``ended`` and ``crashed`` (its process), ``not taken``; the weakest over the rounds.
    value
        Of the worst selection over the rounds; nan without one.
    bound
        The greatest that was claimed; nan without one.
    tolerance
        Values closer than this counted as equal to the solver.
    ground
        What a proof rests on.
    holds
        Whether the certificates were rechecked and hold.
    excess
        By how much budgets were exceeded, at most.
    note
        What the front door said.
    """

    problem: str
    family: str
    solver: str
    groups: int
    cpu: float
    claim: str
    value: float = math.nan
    bound: float = math.nan
    tolerance: float = 0.0
    ground: str = "none"
    holds: bool = True
    excess: int = 0
    note: str = ""

    @property
    def has_selection(self) -> bool:
        """Whether it found a selection that fits the budgets."""
        return not math.isnan(self.value) and self.excess == 0


@dataclass(frozen=True)
class Truth:
    """What is known of a problem.

    Attributes
    ----------
    best
        The least value that any solver found; nan where none found a selection.
    found_by
        Who found it first.
    proof
        Why nothing is better, as a phrase; empty where that is not known.
    tolerance
        Values closer to it than this count as equal to it: the least tolerance of those who found it.
    """

    best: float
    found_by: str
    proof: str
    tolerance: float = 0.0


@dataclass(frozen=True)
class Results:
    """All measurements of a file.

    Attributes
    ----------
    measured
        By problem and solver, in the order of the file.
    stamps
        Days, versions and processors with which it was measured.
    """

    measured: dict[tuple[str, str], Measured]
    stamps: tuple[str, ...]

    @property
    def problems(self) -> list[str]:
        """The names of the problems."""
        return list(dict.fromkeys(problem for problem, _ in self.measured))

    @property
    def solvers(self) -> list[str]:
        """The names of the solvers."""
        return list(dict.fromkeys(solver for _, solver in self.measured))

    def of(self, problem: str) -> list[Measured]:
        """Everything measured on a problem."""
        return [each for each in self.measured.values() if each.problem == problem]

    def truth(self, problem: str) -> Truth:
        """What is known of a problem."""
        return _truth(self.of(problem))

    def wrong(self, measured: Measured) -> str:
        """What is wrong with an answer, as a sentence; empty where nothing is known to be."""
        return _wrong(measured, self.truth(measured.problem))

    def proved(self, measured: Measured) -> bool:
        """Whether a solver claimed a proof of what is the best known, and nothing is known to be wrong with it."""
        if measured.claim == "infeasible":
            return not self.wrong(measured)
        return measured.claim == "optimal" and self.is_best(measured) and not self.wrong(measured)

    def is_best(self, measured: Measured) -> bool:
        """Whether a solver's selection is as good as the best one, whatever it claimed."""
        truth = self.truth(measured.problem)
        return measured.has_selection and measured.value - truth.best <= truth.tolerance


def read_results(path: Path) -> Results:
    """Read a results file; it may be missing or empty.

    Parameters
    ----------
    path
        What `run_bench` wrote.

    Returns
    -------
    results
        The measurements, gathered.
    """
    gathered: dict[tuple[str, str], list[dict[str, str]]] = {}
    rows = read_rows(path)
    for row in rows:
        gathered.setdefault((row["problem"], row["solver"]), []).append(row)
    stamps = tuple(" / ".join(sorted({row[name] for row in rows})) for name in ("date", "versions", "processor"))
    return Results({key: _gathered(own) for key, own in gathered.items()}, stamps)


def _gathered(rows: list[dict[str, str]]) -> Measured:
    # A file that has changed since, or another limit, begins anew.
    rows = [row for row in rows if (row["content"], row["limit"]) == (rows[-1]["content"], rows[-1]["limit"])]
    weakest = next((row for row in rows if row["claim"] not in ("optimal", "infeasible")), rows[0])
    return Measured(
        problem=rows[0]["problem"],
        family=rows[0]["family"],
        solver=rows[0]["solver"],
        groups=int(rows[0]["groups"] or 0),
        cpu=median(float(row["cpu"]) for row in rows),
        claim=weakest["claim"],
        value=max(_floats(rows, "value"), default=math.nan),
        bound=max(_floats(rows, "bound"), default=math.nan),
        tolerance=max(_floats(rows, "tolerance"), default=0.0),
        ground=weakest["ground"] or "none",
        holds=all(row["holds"] != "0" for row in rows),
        excess=max(int(row["excess"] or 0) for row in rows),
        note=weakest["note"],
    )


def _floats(rows: list[dict[str, str]], name: str) -> list[float]:
    return [float(row[name]) for row in rows if row[name]]


def _truth(own: Iterable[Measured]) -> Truth:
    own = list(own)
    found = min((each for each in own if each.has_selection), key=lambda each: each.value, default=None)
    if found is None:
        sound = [each for each in own if each.claim == "infeasible" and each.holds]
        return Truth(math.nan, "", _proof(sound))
    sound = [
        each
        for each in own
        if each.claim == "optimal" and each.holds and abs(each.value - found.value) <= each.tolerance
    ]
    tolerance = min(each.tolerance for each in own if each.has_selection and each.value == found.value)
    return Truth(found.value, found.solver, _proof(sound), tolerance)


def _proof(sound: list[Measured]) -> str:
    """Why what these agree on is so: a certificate that was rechecked, or two exhausted searches."""
    if any(each.ground == CLOSED for each in sound):
        return "certificate"
    searched = sorted({match[1] for each in sound if (match := _EXHAUSTED.fullmatch(each.ground))})
    return "agreement of " + " and ".join(searched) if len(searched) > 1 else ""


def _wrong(one: Measured, truth: Truth) -> str:
    if one.claim == "refused":
        return f"was refused: {one.note}"
    if one.claim == NOT_TAKEN:
        return ""
    if one.excess:
        return f"returned a selection that is {one.excess} over the budgets"
    if not one.holds:
        return f"called its answer {one.claim} with a certificate that does not hold"
    if math.isnan(truth.best):
        return ""
    if one.claim == "infeasible":
        return f"called the problem infeasible; {truth.found_by} found a selection worth {truth.best!r}"
    if one.claim == "optimal" and one.value - truth.best > one.tolerance:
        return f"called {one.value!r} optimal; {truth.found_by} found {truth.best!r}"
    if one.bound - truth.best > one.tolerance:
        return f"claimed that nothing is below {one.bound!r}; {truth.found_by} found {truth.best!r}"
    return ""
