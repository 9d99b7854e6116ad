"""The lines of a results file, gathered by instance and solver."""

from __future__ import annotations

import dataclasses
import math
import statistics
from typing import TYPE_CHECKING

from mckp_quant.bench.figures import exponent, geometric_mean, median

from ..pages import read_rows
from .best_known import best_known

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["ANOTHER", "Measured", "Results", "exponent", "geometric_mean", "median", "read"]

ANOTHER = 1e-9  # a value that lies further above the optimum, relative to it, belongs to another selection


@dataclasses.dataclass(frozen=True)
class Measured:
    """One solver on one instance: the median time over rounds, and the weakest claim."""

    instance: str
    family: str
    groups: int
    solver: str
    cpu: float
    claim: str
    value: float
    bound: float
    points: int
    peak_bytes: int
    best: float

    @property
    def correct(self) -> bool:
        """Whether it was called optimal, fits the budgets and is no worse than the best value known."""
        return self.claim == "optimal" and self.value <= self.best + ANOTHER * abs(self.best)

    @property
    def wrong(self) -> bool:
        """Whether it was called optimal but is not, or is over a budget."""
        return self.claim == "optimal" and not self.correct


@dataclasses.dataclass(frozen=True)
class Results:
    """All measurements of a file, by instance and solver, and the versions they were made with."""

    of: dict[tuple[str, str], Measured]
    stamps: tuple[str, ...]

    def family(self, family: str, solver: str) -> list[Measured]:
        """Every instance of a family that a solver met."""
        return [each for each in self.of.values() if each.family == family and each.solver == solver]

    def solvers(self, family: str) -> list[str]:
        """Who met a family, in the order of the file."""
        return list(dict.fromkeys(each.solver for each in self.of.values() if each.family == family))

    def ratios(self, family: str, solver: str) -> list[float]:
        """CPU time over that of the exact solver, instance by instance."""
        own = {each.instance: each.cpu for each in self.family(family, "exact")}
        return [each.cpu / own[each.instance] for each in self.family(family, solver) if each.instance in own]

    def fastest(self, family: str, solvers: Iterable[str]) -> list[tuple[Measured, Measured]]:
        """The exact solver and the fastest correct one of some others, on each instance that one of them solved."""
        pairs = []
        for own in self.family(family, "exact"):
            others = [self.of[own.instance, name] for name in solvers if (own.instance, name) in self.of]
            if correct := [each for each in others if each.correct]:
                pairs.append((own, min(correct, key=lambda each: each.cpu)))
        return pairs


def read(path: Path) -> Results:
    """Read a results file."""
    rows = read_rows(path)
    known = {name: each.value for name, each in best_known().items()}
    gathered: dict[tuple[str, str], list[dict[str, str]]] = {}
    for row in rows:
        gathered.setdefault((row["instance"], row["solver"]), []).append(row)
    of = {}
    for (instance, solver), own in gathered.items():
        exact = gathered.get((instance, "exact"), own)
        best = known.get(instance, float(exact[0]["value"] or "inf"))
        of[instance, solver] = _measured(own, best)
    days = sorted({row["date"] for row in rows})
    commits = sorted({row["commit"] for row in rows})
    versions = sorted({row["versions"] for row in rows})
    processors = sorted({row["processor"] for row in rows})
    return Results(of, (", ".join(days), ", ".join(commits), " / ".join(versions), " / ".join(processors)))


def _measured(rows: list[dict[str, str]], best: float) -> Measured:
    claims = [row["claim"] for row in rows]
    values = [float(row["value"]) for row in rows if row["value"]]
    broken = any(int(row["excess"] or 0) > 0 for row in rows)
    return Measured(
        instance=rows[0]["instance"],
        family=rows[0]["family"],
        groups=int(rows[0]["groups"] or 0),
        solver=rows[0]["solver"],
        cpu=statistics.median(float(row["cpu"]) for row in rows),
        claim=next((claim for claim in claims if claim not in ("optimal", "exact")), claims[0]),
        value=math.inf if broken else max(values, default=math.nan),
        bound=min((float(row["bound"]) for row in rows if row["bound"]), default=math.nan),
        points=int(rows[0]["points"] or 0),
        peak_bytes=max(int(row["peak_bytes"] or 0) for row in rows),
        best=best,
    )
