from __future__ import annotations

import csv
import math
from typing import TYPE_CHECKING

import pytest

from benchmarks.environment import environment
from benchmarks.solvers import measurements
from benchmarks.solvers.compare import FIELDS

if TYPE_CHECKING:
    from pathlib import Path


def test_the_exponent_of_a_power_law_is_found() -> None:
    assert measurements.exponent([(n, 3 * n**1.5) for n in (10, 100, 1000)]) == pytest.approx(1.5)
    assert math.isnan(measurements.exponent([(10, 1.0), (10, 2.0)]))


def test_a_solver_that_broke_a_budget_or_missed_the_optimum_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    lines = [("exact", "optimal", "2.0", "0"), ("raw cbc", "optimal", "2.1", "0"), ("raw highs", "optimal", "1.9", "3")]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, (*FIELDS, *environment()), restval="0")
        writer.writeheader()
        for solver, claim, value, excess in lines:
            row = {"instance": "i", "family": "f", "solver": solver, "claim": claim, "value": value, "excess": excess}
            writer.writerow({**row, "cpu": "1.0", **environment()})
    results = measurements.read(path)
    assert results.of["i", "exact"].correct
    assert results.of["i", "raw cbc"].wrong
    assert results.of["i", "raw highs"].wrong
    assert results.ratios("f", "raw cbc") == [1.0]
    assert results.fastest("f", ["raw cbc", "raw highs"]) == []
