"""Further linear constraints: against brute force over selections and auxiliary binaries, in Python integers."""

from __future__ import annotations

import dataclasses
import itertools
import re
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mckp_quant.solvers import (
    Answer,
    CpSat,
    Enumerate,
    Highs,
    InvalidProblem,
    NoSolution,
    Problem,
    Pulp,
    Rows,
    Solution,
    SolverFailure,
    Status,
    available,
    solve,
)

from .. import oracle
from ..checks import here, positions, tolerance, verified
from ..drawn import problems

TAKE_ROWS = [name for name in ("cp_sat", "highs", "pulp", "scip", "enumerate") if name in available()]
LARGEST = 2**63 - 1


def rows_of(*rows: tuple[dict[int, int], int, int], n_auxiliary: int = 0) -> Rows:
    """From (variable -> coefficient, lower, upper)."""
    return Rows(
        indptr=np.cumsum([0, *(len(row) for row, _, _ in rows)]),
        indices=np.array([index for row, _, _ in rows for index in row], dtype=np.int64),
        coefficients=np.array([each for row, _, _ in rows for each in row.values()], dtype=np.int64),
        lower=np.array([lower for _, lower, _ in rows], dtype=np.int64),
        upper=np.array([upper for _, _, upper in rows], dtype=np.int64),
        n_auxiliary=n_auxiliary,
    )


def holds(rows: Rows, n_choices: int, chosen: list[int], auxiliary: tuple[int, ...]) -> bool:
    on = set(chosen) | {n_choices + at for at, each in enumerate(auxiliary) if each}
    ends, indices, coefficients = rows.indptr.tolist(), rows.indices.tolist(), rows.coefficients.tolist()
    for (first, last), lower, upper in zip(
        itertools.pairwise(ends), rows.lower.tolist(), rows.upper.tolist(), strict=True
    ):
        total = sum(
            each for index, each in zip(indices[first:last], coefficients[first:last], strict=True) if index in on
        )
        if not lower <= total <= upper:
            return False
    return True


def admitted(rows: Rows, n_choices: int, chosen: list[int]) -> bool:
    ways = itertools.product((0, 1), repeat=rows.n_auxiliary)
    return any(holds(rows, n_choices, chosen, way) for way in ways)


def optimum(problem: Problem) -> float | None:
    assert problem.rows is not None
    start = problem.start.tolist()
    for one in oracle.feasible(problem):
        chosen = [first + own for first, own in zip(start[:-1], one.choice, strict=True)]
        if admitted(problem.rows, problem.n_choices, chosen):
            return oracle.exactly(problem).number(one.value)
    return None


def checked(problem: Problem, solution: Solution) -> Solution:
    assert problem.rows is not None
    if solution.choice is not None:
        assert solution.auxiliary is not None
        assert solution.auxiliary.shape == (problem.rows.n_auxiliary,)
        chosen = positions(problem, solution)
        assert holds(problem.rows, problem.n_choices, chosen, tuple(solution.auxiliary.tolist()))
    return verified(problem, solution)


def drawn_rows(rng: np.random.Generator, problem: Problem, n_rows: int, n_auxiliary: int, reach: int) -> Rows:
    """Rows around what a selection drawn at random adds up to, so that most problems stay feasible."""
    chosen = rng.integers(problem.start[:-1], problem.start[1:])
    on = np.zeros(problem.n_choices + n_auxiliary, dtype=np.int64)
    on[chosen] = 1
    on[problem.n_choices :] = rng.integers(0, 2, n_auxiliary)
    rows = []
    for _ in range(n_rows):
        count = int(rng.integers(1, len(on) + 1))
        index = rng.choice(len(on), count, replace=False)
        coefficient = rng.integers(-reach, reach + 1, count)
        total = int((on[index] * coefficient).sum())
        below, above = (int(each) for each in rng.integers(0, reach + 1, 2))
        kind = int(rng.integers(4))
        lower = -LARGEST if kind == 0 else total if kind == 2 else total - below
        upper = LARGEST if kind == 1 else total if kind == 2 else total + above
        rows.append((dict(zip(index.tolist(), coefficient.tolist(), strict=True)), lower, upper))
    return rows_of(*rows, n_auxiliary=n_auxiliary)


@st.composite
def row_problems(draw: st.DrawFn) -> Problem:
    problem = draw(problems(max_budgets=2, max_groups=5, max_choices=3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    reach = draw(st.sampled_from([1, 5, 1000, 10**9]))
    rows = drawn_rows(rng, problem, draw(st.integers(1, 3)), draw(st.integers(0, 3)), reach)
    return dataclasses.replace(problem, rows=rows)


@pytest.mark.parametrize("solver", TAKE_ROWS)
@given(problem=row_problems())
@settings(max_examples=80)
def test_best_selection_that_satisfies_the_rows_is_found(solver: str, problem: Problem) -> None:
    here(solver)
    try:
        solution = checked(problem, solve(problem, solver))
    except InvalidProblem as error:
        assert re.match(r"cp_sat takes costs", str(error))  # noqa: PT017
        return
    best = optimum(problem)
    if best is None:
        assert solution.status is Status.INFEASIBLE
    else:
        assert solution.status is Status.OPTIMAL
        assert best <= solution.value <= best + tolerance(problem)
        assert solution.certificate.bound <= best


def one_of_each(n: int) -> Problem:
    return Problem.from_table(np.tile([2.0, 1.0, 0.0], (n, 1)), np.tile([0, 1, 2], (n, 1)), 2 * n)


@pytest.mark.parametrize("solver", TAKE_ROWS)
def test_auxiliary_binaries_switch_rows_on_and_off(solver: str) -> None:
    here(solver)
    # At most one of the two kinds of dear choices in the whole network: y says which. Position 3 g + j, aux at 12, 13.
    first = {3 * g + 1: 1 for g in range(4)} | {12: -4}
    second = {3 * g + 2: 1 for g in range(4)} | {13: -4}
    rows = rows_of((first, -LARGEST, 0), (second, -LARGEST, 0), ({12: 1, 13: 1}, 0, 1), n_auxiliary=2)
    problem = dataclasses.replace(one_of_each(4), rows=rows, budget=np.array([5]))
    solution = checked(problem, solve(problem, solver))
    assert solution.value == 4.0
    assert solution.status is Status.OPTIMAL
    assert solution.auxiliary is not None
    kinds = set(solution.require().choice.tolist()) - {0}  # type: ignore[union-attr]
    assert kinds in ({1}, {2})
    assert solution.auxiliary[min(kinds) - 1] == 1


@pytest.mark.parametrize("solver", TAKE_ROWS)
def test_dominated_choice_is_taken_where_a_row_asks_for_it(solver: str) -> None:
    here(solver)
    problem = dataclasses.replace(
        Problem.from_table([[0.0, 5.0], [1.0, 7.0]], [[1, 2], [1, 2]], 4), rows=rows_of(({1: 1, 3: 1}, 1, 2))
    )
    solution = checked(problem, solve(problem, solver))
    assert solution.value == 6.0
    assert solution.status is Status.OPTIMAL
    assert solution.certificate.ground.startswith("search exhausted (")


@pytest.mark.parametrize("solver", TAKE_ROWS)
@pytest.mark.parametrize(
    "rows",
    [
        rows_of(({0: 1, 1: 1, 2: 1}, 0, 0)),
        rows_of(({0: 1, 3: 1}, 3, 9)),
        rows_of(({}, 1, 2)),
        rows_of(({12: 2}, 1, 1), n_auxiliary=1),
    ],
)
def test_rows_that_nothing_satisfies_are_proved_infeasible(solver: str, rows: Rows) -> None:
    here(solver)
    problem = dataclasses.replace(one_of_each(4), rows=rows)
    solution = checked(problem, solve(problem, solver))
    assert solution.status is Status.INFEASIBLE
    assert solution.certificate.ground.startswith("search exhausted (")
    assert solution.least_budget == (None,)
    with pytest.raises(NoSolution, match="no value of it works while the others stay"):
        solution.require()


def test_least_budget_takes_the_rows_into_account() -> None:
    rows = rows_of(({3 * g + 2: 1 for g in range(4)}, 2, 4))
    problem = dataclasses.replace(one_of_each(4), rows=rows, budget=np.array([3]))
    solution = checked(problem, solve(problem))
    assert solution.status is Status.INFEASIBLE
    assert solution.least_budget == (4,)
    assert solve(problem.with_budget(4)).value == 4.0


@pytest.mark.parametrize("factor", [1e-12, 1e-6, 1e6])
@pytest.mark.parametrize("solver", TAKE_ROWS)
def test_unit_of_the_values_is_irrelevant(solver: str, factor: float) -> None:
    here(solver)
    rng = np.random.default_rng(4)
    value = np.cumsum(rng.random((8, 3))[:, ::-1] ** 8, axis=1)[:, ::-1]
    problem = Problem.from_table(value, np.tile([2, 4, 8], (8, 1)), 32)
    rows = rows_of(*(({3 * g + 2: 1, 3 * g + 5: 1}, -LARGEST, 1) for g in range(7)))
    problem = dataclasses.replace(problem, rows=rows)
    natural = checked(problem, solve(problem, "enumerate"))
    scaled = dataclasses.replace(problem, value=problem.value * factor)
    solution = checked(scaled, solve(scaled, solver))
    assert solution.status is Status.OPTIMAL
    assert solution.choice is not None
    assert natural.choice is not None
    assert solution.choice.tolist() == natural.choice.tolist()


@pytest.mark.parametrize("solver", TAKE_ROWS)
def test_warm_start_counts_only_where_it_satisfies_the_rows(solver: str) -> None:
    here(solver)
    rows = rows_of(({0: 1, 12: -1}, 0, 0), n_auxiliary=1)
    problem = dataclasses.replace(one_of_each(4), rows=rows, budget=np.array([6]))
    for warm in ([2, 2, 2, 0], [0, 2, 2, 2]):
        solution = checked(problem, solve(problem, solver, warm=warm))
        assert solution.value == 2.0
    barred = dataclasses.replace(problem, rows=rows_of(({0: 1, 1: 1}, 1, 1)))
    assert checked(barred, solve(barred, solver, warm=[2, 2, 2, 0])).value == 2.0


@pytest.mark.parametrize("make", [CpSat, Highs, Pulp])
def test_raw_backend_takes_rows_too(make: Any) -> None:
    solver = make(reduce=False)
    here(solver.name)
    rows = rows_of(({3 * g + 2: 1 for g in range(4)}, 0, 1))
    problem = dataclasses.replace(one_of_each(4), rows=rows)
    solution = checked(problem, solve(problem, solver))
    assert solution.value == 3.0
    assert solution.status is Status.FEASIBLE
    assert isinstance(solution.stats["claimed"], str)
    hopeless = dataclasses.replace(problem, rows=rows_of(({}, 1, 1)))
    assert solve(hopeless, solver).status is Status.UNKNOWN


@pytest.mark.parametrize("solver", [name for name in available() if name not in TAKE_ROWS])
def test_solvers_that_know_nothing_of_rows_refuse_them(solver: str) -> None:
    problem = dataclasses.replace(one_of_each(2), rows=rows_of(({0: 1}, 0, 0)))
    message = f"{solver} takes no further rows, the problem has 1: use 'cp_sat', 'highs' or 'pulp'"
    with pytest.raises(InvalidProblem, match="^" + re.escape(message) + "$"):
        solve(problem, solver)
    assert solve(problem, "auto").solver.startswith("CpSat(")


def test_enumerate_counts_the_auxiliary_binaries() -> None:
    rows = rows_of(({6: 1, 7: 1}, 0, 1), n_auxiliary=2)
    problem = dataclasses.replace(one_of_each(2), rows=rows)
    assert solve(problem, Enumerate(max_selections=36)).value == 0.0
    with pytest.raises(InvalidProblem, match="enumerate would have to try 36 selections, its limit is 35"):
        solve(problem, Enumerate(max_selections=35))


def test_cp_sat_refuses_coefficients_beyond_its_integers() -> None:
    problem = dataclasses.replace(one_of_each(2), rows=rows_of(({0: 1}, 0, 0), ({0: 2**60, 3: -(2**60)}, 0, 5)))
    with pytest.raises(
        InvalidProblem, match=r"cp_sat takes rows whose coefficients add up to less than 2\*\*61, row 1"
    ):
        solve(problem, "cp_sat")
    assert solve(problem, "enumerate").value == 0.0


@dataclasses.dataclass(frozen=True)
class Scripted:
    """A backend that returns whatever the test says, or raises it."""

    answer: Answer | None
    name: ClassVar[str] = "scripted"
    requires: ClassVar[str | None] = None
    reference: ClassVar[str] = "none"

    def supports(self, problem: Problem) -> str | None:
        return None

    def __call__(self, problem: Problem, *, seconds: float, seed: int, warm: Any) -> Answer:
        if self.answer is None:
            raise KeyboardInterrupt
        return self.answer


ROWS = dataclasses.replace(one_of_each(2), rows=rows_of(({0: 1, 6: -1}, 0, 0), n_auxiliary=1))


def test_front_door_checks_rows_in_exact_integers() -> None:
    barred = dataclasses.replace(one_of_each(2), rows=rows_of(({1: 1}, 0, 0)))
    with pytest.raises(SolverFailure, match="scripted returned a selection that breaks one of the 1 rows"):
        solve(barred, Scripted(Answer(np.array([1, 3]), complete=True)))
    found = solve(ROWS, Scripted(Answer(np.array([0, 3]))))
    assert found.auxiliary is not None
    assert found.auxiliary.tolist() == [1]
    for wrong in (np.array([1, 0]), np.array([2])):
        with pytest.raises(SolverFailure, match="for 1 auxiliary binaries"):
            solve(ROWS, Scripted(Answer(np.array([0, 3]), auxiliary=wrong)))


def test_interrupted_with_rows_only_the_warm_start_is_known() -> None:
    barred = dataclasses.replace(one_of_each(2), rows=rows_of(({1: 1}, 0, 0)))
    for warm in (None, [1, 0]):
        with pytest.raises(KeyboardInterrupt):
            solve(barred, Scripted(None), warm=warm)
    solution = checked(barred, solve(barred, Scripted(None), warm=[2, 0]))
    assert solution.value == 2.0
    assert solution.stats["interrupted"] is True


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"indptr": [0, 1]}, "rows.indptr is [0, 1]: it must rise from 0 to the number of entries, 2"),
        ({"indptr": [1, 2]}, "rows.indptr is [1, 2]: it must rise from 0"),
        ({"indptr": [0, 3, 2]}, "rows.indptr is [0, 3, 2]: it must rise"),
        ({"indptr": []}, "rows.indptr is []: it must rise"),
        ({"indices": [0, -1]}, "rows.indices[1] is -1: variables are counted from 0"),
        ({"indices": [0, 0]}, "row 0 names a variable twice: add its coefficients up"),
        ({"indices": [0, 6]}, "rows.indices[1] is 6: 6 choices and 0 auxiliary binaries end at 5"),
        ({"coefficients": [1]}, "rows.coefficients has 1 entries for 2 indices"),
        ({"coefficients": [1, 0.5]}, "rows.coefficients[1] is 0.5: it must be a whole number"),
        ({"coefficients": [2**61, -(2**61)]}, "the coefficients of row 0 add up to 2**62 or more"),
        ({"lower": [0, 0]}, "rows.lower has 2 entries for 1 rows"),
        ({"upper": []}, "rows.upper has 0 entries for 1 rows"),
        ({"lower": [3]}, "rows.lower[0] is 3, above rows.upper[0] = 1"),
        ({"n_auxiliary": -1}, "rows.n_auxiliary is -1: it must be a whole number, at least 0"),
        ({"n_auxiliary": 1.0}, "rows.n_auxiliary is 1.0: it must be a whole number, at least 0"),
    ],
)
def test_malformed_rows_are_refused_by_name(changes: dict[str, Any], message: str) -> None:
    sound: dict[str, Any] = {
        "indptr": [0, 2],
        "indices": [0, 1],
        "coefficients": [1, 1],
        "lower": [0],
        "upper": [1],
    }
    with pytest.raises(InvalidProblem, match=re.escape(message)):
        dataclasses.replace(one_of_each(2), rows=Rows(**(sound | changes)))


def test_rows_are_frozen_copies_and_nothing_else_is_taken_for_them() -> None:
    upper = np.array([1])
    rows = Rows(np.array([0, 1]), np.array([0]), np.array([1]), np.array([0]), upper)
    upper[0] = 7
    assert rows.upper.tolist() == [1]
    assert not rows.upper.flags.writeable
    with pytest.raises(InvalidProblem, match="rows is a list: build Rows first"):
        dataclasses.replace(one_of_each(2), rows=[1])  # type: ignore[arg-type]
