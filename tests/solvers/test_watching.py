"""What a solve tells on its way, and where it stops: properties against the same solve that runs to its end."""

from __future__ import annotations

import dataclasses
import logging
import math
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mckp_quant.solvers import (
    Answer,
    Exact,
    Highs,
    InvalidProblem,
    Problem,
    Rows,
    SearchProgress,
    Solver,
    Status,
    instances,
    solve,
)

from .checks import verified
from .drawn import problems

if TYPE_CHECKING:
    from numpy.typing import NDArray

TELLING = ("exact", "cp_sat")
SEARCHED = {
    "one budget": instances.zigzag(30, 6, seed=0),
    "several budgets": instances.several_budgets(12, 5, 3, seed=1),
}
WITH_ROWS = dataclasses.replace(
    instances.zigzag(12, 4, seed=3),
    rows=Rows(np.array([0, 2]), np.array([0, 4]), np.array([1, 1]), np.array([0]), np.array([1])),
)


def told(problem: Problem, solver: str, **options: Any) -> tuple[Any, list[SearchProgress]]:
    seen: list[SearchProgress] = []
    return verified(problem, solve(problem, solver, progress=seen.append, **options)), seen


@pytest.mark.parametrize("solver", TELLING)
@pytest.mark.parametrize("name", SEARCHED)
def test_values_fall_and_end_at_the_answer_which_is_the_same_as_unwatched(name: str, solver: str) -> None:
    problem = SEARCHED[name]
    solution, seen = told(problem, solver)
    plain = solve(problem, solver)
    assert len(seen) >= 2
    values = [each.value for each in seen]
    assert values == sorted(values, reverse=True)
    assert values[-1] == solution.value == plain.value
    assert all(each.bound <= solution.value for each in seen)
    assert all(each.gap == each.value - each.bound >= 0 for each in seen)
    assert [each.seconds for each in seen] == sorted(each.seconds for each in seen)
    assert seen[-1].gap == solution.gap == 0
    assert repr(solution.choice) == repr(plain.choice)
    assert "stopped" not in solution.stats


@pytest.mark.parametrize(
    ("name", "solver"), [*((name, solver) for name in SEARCHED for solver in TELLING), ("rows", "cp_sat")]
)
def test_a_gap_that_was_asked_for_is_that_of_the_certificate(name: str, solver: str) -> None:
    problem = WITH_ROWS if name == "rows" else SEARCHED[name]
    _, seen = told(problem, solver)
    widest = seen[0].gap
    best = solve(problem).value
    for share in (1.0, 0.9, 0.5, 0.0):
        solution, _ = told(problem, solver, gap=share * widest)
        assert solution.status is Status.OPTIMAL or solution.gap <= share * widest
        assert solution.certificate.holds(problem)
        assert solution.value >= best
        if solution.status is not Status.OPTIMAL:
            assert solution.stats["stopped"] == "gap"
        relative, _ = told(problem, solver, relative_gap=share * seen[0].relative_gap)
        assert relative.status is Status.OPTIMAL or relative.relative_gap <= share * seen[0].relative_gap


@pytest.mark.parametrize("solver", TELLING)
@pytest.mark.parametrize("name", SEARCHED)
def test_it_stops_at_a_value_that_is_good_enough(name: str, solver: str) -> None:
    problem = SEARCHED[name]
    whole, seen = told(problem, solver)
    first, _ = told(problem, solver, good_enough=seen[0].value)
    assert first.stats["stopped"] == "good_enough"
    assert first.value <= seen[0].value
    assert first.status is Status.FEASIBLE
    last, _ = told(problem, solver, good_enough=whole.value)
    assert last.value == whole.value
    never, _ = told(problem, solver, good_enough=math.nextafter(whole.value, -math.inf))
    assert never.status is Status.OPTIMAL
    assert "stopped" not in never.stats


@given(problem=problems(max_budgets=3, max_groups=5, max_choices=4), share=st.floats(0, 1))
@settings(max_examples=40)
def test_no_stop_gives_a_wider_gap_or_a_wrong_claim(problem: Problem, share: float) -> None:
    whole = solve(problem)
    if whole.choice is None:
        assert solve(problem, gap=1.0).status is whole.status
        return
    _, seen = told(problem, "exact")
    solution, _ = told(problem, "exact", gap=share * seen[0].gap)
    assert solution.status is Status.OPTIMAL or solution.gap <= share * seen[0].gap
    assert solution.value >= whole.value
    again, _ = told(problem, "exact", gap=share * seen[0].gap)
    assert repr(again.choice) == repr(solution.choice)


@pytest.mark.parametrize("solver", TELLING)
def test_extreme_values_are_told_in_the_units_of_the_problem(solver: str) -> None:
    base = SEARCHED["one budget"]
    for scale in (2.0**-900, 2.0**900):
        scaled = dataclasses.replace(base, value=base.value * scale)
        solution, seen = told(scaled, solver)
        assert seen[-1].value == solution.value
        assert seen[0].value / scale == told(base, solver)[1][0].value


@dataclasses.dataclass(frozen=True)
class Telling:
    """A solver of one's own that tells of two selections, the better one last."""

    name: ClassVar[str] = "telling"
    requires: ClassVar[str | None] = None
    reference: ClassVar[str] = "none"

    def supports(self, problem: Problem) -> str | None:
        return None

    def __call__(self, problem: Problem, *, seconds: float, seed: int, warm: NDArray[np.int64] | None) -> Answer:
        return self.watched(problem, seconds=seconds, seed=seed, warm=warm, watch=None)

    def watched(
        self, problem: Problem, *, seconds: float, seed: int, warm: NDArray[np.int64] | None, watch: Any
    ) -> Answer:
        cheapest = np.lexsort((problem.value, problem.cost[0], problem.group))[problem.start[:-1]]
        dearest = np.lexsort((problem.value, problem.group))[problem.start[:-1]]
        best = solve(problem).choice
        assert best is not None
        optimal = problem.position(best)
        for choice in (dearest, cheapest, optimal, cheapest):
            if watch is not None and watch.found(choice, np.zeros(problem.n_resources)):
                return Answer(choice)
        return Answer(optimal)


def test_a_solver_of_ones_own_tells_and_stops_and_what_does_not_fit_is_passed_over() -> None:
    problem = SEARCHED["one budget"]
    seen: list[SearchProgress] = []
    solution = solve(problem, Telling(), progress=seen.append)
    assert len(seen) == 3  # two selections, and the end
    assert seen[0].value > seen[1].value == seen[2].value == solution.value
    stopped = solve(problem, Telling(), good_enough=seen[0].value)
    assert stopped.value == seen[0].value
    assert stopped.stats["stopped"] == "good_enough"


def test_nothing_is_told_once_the_solve_is_over() -> None:
    problem = SEARCHED["one budget"]
    kept: list[Any] = []

    @dataclasses.dataclass(frozen=True)
    class Lingering(Telling):
        def watched(
            self, problem: Problem, *, seconds: float, seed: int, warm: NDArray[np.int64] | None, watch: Any
        ) -> Answer:
            kept.append(watch)
            cheapest = np.lexsort((problem.value, problem.cost[0], problem.group))[problem.start[:-1]]
            return Answer(cheapest)

    seen: list[SearchProgress] = []
    solve(problem, Lingering(), progress=seen.append)
    assert len(seen) == 1
    best = solve(problem).choice
    assert best is not None
    assert kept[0].found(problem.position(best), np.zeros(1))
    assert len(seen) == 1


def test_solvers_that_do_not_tell_report_the_end_and_cannot_be_stopped() -> None:
    problem = SEARCHED["one budget"]
    for solver in ("greedy", "highs"):
        solution, seen = told(problem, solver)
        assert [each.value for each in seen] == [solution.value]
    stopless: list[tuple[Solver | str, str]] = [("greedy", "greedy"), (Highs(), "highs")]
    stops: list[dict[str, Any]] = [{"gap": 1.0}, {"relative_gap": 0.1}, {"good_enough": 0.0}]
    for refusing, name in stopless:
        for stop in stops:
            with pytest.raises(InvalidProblem, match=f"{name} cannot be stopped at a gap or value: leave gap"):
                solve(problem, refusing, **stop)


def test_an_infeasible_problem_tells_nothing() -> None:
    seen: list[SearchProgress] = []
    problem = Problem.from_table([[1.0], [2.0]], [[3], [4]], 6)
    assert solve(problem, progress=seen.append, gap=1.0).status is Status.INFEASIBLE
    assert seen == []


@pytest.mark.parametrize("solver", TELLING)
@pytest.mark.parametrize("error", [ValueError("no disk"), KeyboardInterrupt()])
def test_what_the_callers_function_raises_ends_the_solve(solver: str, error: BaseException) -> None:
    def fail(known: SearchProgress) -> None:
        raise error

    with pytest.raises(type(error)) as raised:
        solve(SEARCHED["several budgets"], solver, progress=fail)
    assert raised.value is error


def test_the_logger_hears_the_same(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="mckp_quant.solvers"):
        solution = solve(SEARCHED["one budget"])
    assert len(caplog.records) >= 2
    assert (
        caplog.records[-1].getMessage().startswith(f"value {solution.value:.12g}, bound {solution.bound:.12g}, gap 0")
    )
    caplog.clear()
    solve(SEARCHED["one budget"])
    assert caplog.records == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gap": -1.0}, "gap is -1.0: it must be a number, at least 0, or None"),
        ({"gap": math.nan}, "gap is nan: it must be a number, at least 0"),
        ({"relative_gap": "1%"}, "relative_gap is '1%': it must be a number, at least 0"),
        ({"good_enough": math.nan}, "good_enough is nan: it must be a number, or None"),
        ({"good_enough": True}, "good_enough is True: it must be a number, or None"),
        ({"progress": 3}, "progress is 3: give a function of a SearchProgress, or None"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidProblem, match=message):
        solve(SEARCHED["one budget"], **options)


def test_a_limit_on_states_still_ends_a_watched_search() -> None:
    solution, seen = told(SEARCHED["several budgets"], "exact")
    limited = solve(SEARCHED["several budgets"], Exact(max_states=1), progress=seen.append)
    assert limited.value >= solution.value
