from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mckp_quant import Format, InvalidInput, Request, RunOptions, SensitivityTable, allocate, compare_solvers
from mckp_quant.report.text import as_text, comparison_report
from mckp_quant.solvers import Answer, Exact, NoSolution, Problem, Status, available, solve
from mckp_quant.solvers.errors import require

from ..drawn_tables import make_table, tables

SMALL = make_table(np.random.default_rng(0).random((5, 3)).tolist())


@dataclasses.dataclass(frozen=True)
class Liar:
    """A solver that returns no answer at all."""

    name: ClassVar[str] = "liar"
    requires: ClassVar[str | None] = None
    reference: ClassVar[str] = ""

    def supports(self, problem: Problem) -> str | None:
        return None

    def __call__(self, problem: Problem, *, seconds: float, seed: int, warm: Any) -> Answer:
        raise OSError("the backend is gone")


@dataclasses.dataclass(frozen=True)
class Absent(Liar):
    """A solver whose package is missing."""

    name: ClassVar[str] = "absent"

    def __call__(self, problem: Problem, *, seconds: float, seed: int, warm: Any) -> Answer:
        require("no_such_package", "absent")
        raise AssertionError


@dataclasses.dataclass(frozen=True)
class First:
    """A solver that always takes the first choice, and proves nothing."""

    name: ClassVar[str] = "first"
    requires: ClassVar[str | None] = None
    reference: ClassVar[str] = ""

    def supports(self, problem: Problem) -> str | None:
        return None

    def __call__(self, problem: Problem, *, seconds: float, seed: int, warm: Any) -> Answer:
        return Answer(problem.start[:-1].copy())


def test_every_solver_that_can_run_here_has_a_row_and_highs_is_the_last() -> None:
    comparison = compare_solvers(SMALL, {"weight_bytes": "50%"})
    names = [row.solver for row in comparison.rows]
    assert set(names) == set(available()) - {"auto"}
    assert names[-1] == "highs"
    assert (comparison.reference, comparison.proved, comparison.unit) == ("exact", True, SMALL.unit)
    can = [row for row in comparison.rows if available()[row.solver] is None]
    assert {row.solver for row in can if row.reason} <= {"pairwise"}  # there are no pairs


@settings(max_examples=25)
@given(tables(most_layers=5), st.integers(70, 100))
def test_rows_say_what_solving_says(table: SensitivityTable, share: int) -> None:
    budgets = {"bops": "100%", "weight_bytes": f"{share}%"}
    try:
        best = allocate(table, budgets, solver="enumerate")
    except NoSolution:
        with pytest.raises(NoSolution, match=r"cannot be met|no policy is within all"):
            compare_solvers(table, budgets, solvers=["greedy", "enumerate"])
        return
    comparison = compare_solvers(table, budgets, solvers=["greedy", "enumerate"])
    assert comparison.reference == "enumerate" or comparison.rows[0].status == Status.OPTIMAL.value
    for row in comparison.rows:
        own = solve(best.problem, row.solver)
        assert (row.value, row.bound) == (own.value, own.bound)
        assert (row.status, row.ground) == (own.status.value, own.certificate.ground)
        reference = next(each for each in comparison.rows if each.solver == comparison.reference)
        assert row.excess == row.value - reference.value
        if row.excess:
            assert row.relative_excess == row.excess / abs(reference.value)
        assert own.choice is not None
        first = best.index.policy_formats(own.choice)
        other = solve(best.problem, comparison.reference).choice
        assert other is not None
        second = best.index.policy_formats(other)
        assert row.layers_that_differ == sum(a.name != b.name for a, b in zip(first, second, strict=True))


def test_layers_of_a_tied_set_all_count_as_different() -> None:
    table = make_table([[2.0, 1.0, 0.0]] * 3)
    comparison = compare_solvers(table, Request({"bops": "100%"}, tied=[["a", "c"]]), solvers=[First(), "exact"])
    assert [row.layers_that_differ for row in comparison.rows] == [3, 0]
    assert comparison.rows[0].excess == 6
    assert comparison.rows[0].relative_excess == math.inf


def test_best_unproved_answer_is_the_reference_where_nothing_is_proved() -> None:
    comparison = compare_solvers(make_table([[2.0, 0.0, 0.0], [2.0, 2.0, 3.0]]), {"bops": "100%"}, solvers=[First()])
    assert (comparison.reference, comparison.proved) == ("first", False)
    assert "the best found, not proved optimal" in as_text(comparison_report(comparison))


def test_solver_that_cannot_take_the_problem_gives_its_reason() -> None:
    table = make_table(np.random.default_rng(0).random((26, 3)).tolist())
    comparison = compare_solvers(table, {"weight_bytes": "50%"}, solvers=["enumerate", "exact"])
    assert "selections" in comparison.rows[0].reason
    assert math.isnan(comparison.rows[0].value)
    assert "enumerate did not run: enumerate would have to try" in as_text(comparison_report(comparison))


def test_solver_that_breaks_its_word_is_a_row_and_hides_no_other() -> None:
    comparison = compare_solvers(SMALL, {"weight_bytes": "50%"}, solvers=[Liar(), Exact()])
    assert comparison.rows[0].reason == "failed: liar failed: OSError: the backend is gone"
    assert comparison.rows[1].status == Status.OPTIMAL.value
    nobody = compare_solvers(SMALL, {"weight_bytes": "50%"}, solvers=[Liar()])
    assert (nobody.reference, nobody.proved) == ("", False)


def test_solver_without_its_package_says_how_to_get_it() -> None:
    row = compare_solvers(SMALL, {"weight_bytes": "50%"}, solvers=[Absent()]).rows[0]
    assert "pip install 'mckp-quant[absent]'" in row.reason


def test_solvers_are_reported_before_they_run() -> None:
    seen: list[tuple[int, int | None]] = []

    def progress(done: int, total: int | None) -> None:
        seen.append((done, total))

    compare_solvers(SMALL, {"weight_bytes": "50%"}, solvers=["greedy", Exact()], run=RunOptions(progress=progress))
    assert seen == [(0, 2), (1, 2)]


def test_budgets_that_clash_are_no_comparison() -> None:
    codebook = Format("codebook", weight_bits=16, stored_bits=lambda layer: layer.elements)
    table = SensitivityTable(SMALL.layers[:1], (codebook, Format.named("w4")), np.ones((1, 2)), np.ones((1, 2)))
    with pytest.raises(NoSolution, match="budget weight_bytes = 1 cannot be met"):
        compare_solvers(table, {"weight_bytes": 1})
    with pytest.raises(NoSolution, match="no policy is within all the budgets together"):
        compare_solvers(table, {"weight_bytes": 13, "bops": 128_000}, solvers=["enumerate"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"solvers": ["exakt"]}, "unknown solver 'exakt': did you mean 'exact'"),
        ({"solvers": ["exact", Exact()]}, "solver 'exact' is given twice"),
        ({"seconds": 0}, "seconds is 0: give a number of seconds above 0"),
        (
            {"run": RunOptions(cache="rounded")},
            r"RunOptions\(cache='rounded'\) means nothing to compare_solvers\(\), which takes seed, progress: leave",
        ),
    ],
)
def test_wrong_arguments_are_refused_and_not_reported_as_rows(arguments: Any, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        compare_solvers(SMALL, {"weight_bytes": "50%"}, **arguments)
