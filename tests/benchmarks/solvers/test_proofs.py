"""The short version of the long run against rational numbers, and that it notices what is wrong."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from benchmarks.solvers.proofs import COUNTS, FAMILIES, NAMES, draw, faults, main, optimum
from mckp_quant.solvers import InvalidProblem, Status, available, solve

from ...solvers import oracle


@pytest.mark.parametrize("family", FAMILIES)
def test_no_solver_name_proves_what_is_wrong(family: str) -> None:
    rng = np.random.default_rng([7, FAMILIES.index(family)])
    for _ in range(3):
        problem = draw(rng, family)
        best = optimum(problem)
        assert (None if best is None else float(best)) == oracle.optimum(problem)
        for name in NAMES:
            if name != "auto" and available()[name] is not None:
                continue
            try:
                solution = solve(problem, name)
            except InvalidProblem:
                continue
            assert faults(problem, solution, best) == [], name


def test_what_is_wrong_is_noticed() -> None:
    rng = np.random.default_rng(0)
    solutions = ((problem, solve(problem)) for problem in (draw(rng, "several budgets") for _ in range(50)))
    problem, solution = next(pair for pair in solutions if pair[1].status is Status.OPTIMAL)
    best = optimum(problem)
    assert best is not None
    assert faults(problem, solution, best) == []
    assert faults(problem, solution, best - 1) == ["false proof", "certificate"]
    assert faults(problem, solution, None) == ["over budget"]
    nothing = dataclasses.replace(solution, choice=None, status=Status.INFEASIBLE)
    assert "false proof" in faults(problem, nothing, best)
    forged = dataclasses.replace(solution.certificate, bound=float(best) + 1)
    assert faults(problem, dataclasses.replace(solution, certificate=forged), best) == ["certificate", "certificate"]


def test_stopped_run_goes_on_and_fills_the_page(tmp_path) -> None:  # type: ignore[no-untyped-def]
    results, target = tmp_path / "proofs.csv", tmp_path / "page.md"
    command = ["run", "--problems", "1", "--solvers", "greedy", "--csv", str(results)]
    assert main(command) == 0
    before = results.read_text(encoding="utf-8")
    assert main(command) == 0
    assert results.read_text(encoding="utf-8") == before
    target.write_text("<!-- proofs: begin -->\n\n<!-- proofs: end -->\n", encoding="utf-8")
    assert main(["page", "--csv", str(results), "--page", str(target)]) == 0
    assert f"| greedy | {25 * len(FAMILIES)} |" in target.read_text(encoding="utf-8")
    assert all(name in before.splitlines()[0] for name in COUNTS)
