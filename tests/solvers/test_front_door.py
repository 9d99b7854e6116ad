"""`solve()` against backends that lie or crash: claims become facts, or a failure that names the backend."""

from __future__ import annotations

import dataclasses
import math
import re
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest

from mckp_quant.solvers import Answer, InvalidProblem, Problem, SolverFailure, Status, solve

from .checks import verified

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

# Values by (group, choice): the optimum takes choices 1 and 0 for 3.0; the cheapest selection takes 0 and 0 for 5.0.
PROBLEM = Problem.from_table([[4.0, 2.0, 0.0], [1.0, 0.5, 0.0]], [[1, 3, 9], [2, 4, 6]], 5)
OPTIMAL = [1, 3]
CHEAPEST = [0, 3]
OVER = [2, 5]


@dataclasses.dataclass(frozen=True)
class Scripted:
    """A backend that returns whatever the test says."""

    script: Callable[[Problem], Any]
    refusal: str | None = None
    name: ClassVar[str] = "scripted"
    requires: ClassVar[str | None] = None
    reference: ClassVar[str] = "none"

    def supports(self, problem: Problem) -> str | None:
        return self.refusal

    def __call__(self, problem: Problem, *, seconds: float, seed: int, warm: NDArray[np.int64] | None) -> Answer:
        answer: Answer = self.script(problem)
        return answer


def answers(choice: Any, **claims: Any) -> Scripted:
    array = choice if choice is None or isinstance(choice, np.ndarray) else np.array(choice)
    return Scripted(lambda _: Answer(array, **claims))


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ([-1, 3], "scripted returned position -1 for group 0, which owns 0 to 2"),
        ([0, 6], "scripted returned position 6 for group 1, which owns 3 to 5"),
        ([0, 1], "scripted returned position 1 for group 1, which owns 3 to 5"),
        ([3, 0], "scripted returned position 3 for group 0, which owns 0 to 2"),
        ([0], "scripted returned a selection of shape (1,) and type int64: expected 2 integer positions"),
        ([0, 3, 3], "scripted returned a selection of shape (3,) and type int64: expected 2 integer positions"),
        ([[0, 3]], "scripted returned a selection of shape (1, 2) and type int64: expected 2 integer positions"),
        ([], "scripted returned a selection of shape (0,) and type float64: expected 2 integer positions"),
        ([0.0, 3.0], "scripted returned a selection of shape (2,) and type float64: expected 2 integer positions"),
        ([True, True], "scripted returned a selection of shape (2,) and type bool: expected 2 integer positions"),
        (
            np.array(["0", "3"]),
            "scripted returned a selection of shape (2,) and type <U1: expected 2 integer positions",
        ),
        (np.array([0, 3], dtype=object), "scripted returned a selection of shape (2,) and type object: expected 2"),
    ],
)
def test_what_is_no_selection_is_a_failure_of_the_backend(choice: Any, message: str) -> None:
    with pytest.raises(SolverFailure, match=re.escape(message)):
        solve(PROBLEM, answers(choice, complete=True))


def test_what_is_no_array_or_no_answer_is_a_failure_of_the_backend() -> None:
    with pytest.raises(SolverFailure, match=r"scripted returned a selection that is no array: "):
        solve(PROBLEM, Scripted(lambda _: Answer([0, [3]])))  # type: ignore[arg-type]
    for other in ("03", {0: 3}):
        with pytest.raises(SolverFailure, match=r"scripted returned a selection of shape \(\) and type "):
            solve(PROBLEM, Scripted(lambda _, choice=other: Answer(choice)))  # type: ignore[misc]
    with pytest.raises(SolverFailure, match="scripted returned a list instead of an Answer"):
        solve(PROBLEM, Scripted(lambda _: [0, 3]))


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int32, np.uint64])
def test_positions_of_any_integer_type_are_taken(kind: type) -> None:
    solution = verified(PROBLEM, solve(PROBLEM, answers(np.array(OPTIMAL, dtype=kind), complete=True)))
    assert solution.value == 3.0


def test_over_budget_twice_names_backend_resource_and_excess() -> None:
    with pytest.raises(SolverFailure, match=r"scripted exceeds budget\[0\] = 5 by 10"):
        solve(PROBLEM, answers(OVER, complete=True))
    two = dataclasses.replace(PROBLEM, cost=np.vstack([np.zeros(6), PROBLEM.cost]), budget=np.array([0, 14]))
    with pytest.raises(SolverFailure, match=r"scripted exceeds budget\[1\] = 14 by 1"):
        solve(two, answers(OVER, complete=True))


def test_over_budget_by_one_in_exact_integers_is_seen() -> None:
    large = 2**60
    problem = Problem.from_table([[1.0, 0.0]], [[0, large + 1]], large)
    with pytest.raises(SolverFailure, match=rf"scripted exceeds budget\[0\] = {large} by 1"):
        solve(problem, answers([1], complete=True))


def test_over_budget_once_is_solved_again_under_a_tighter_budget_and_proves_nothing() -> None:
    seen: list[list[int]] = []

    def script(problem: Problem) -> Answer:
        seen.append(problem.budget.tolist())
        return Answer(np.array([1, 4] if len(seen) == 1 else CHEAPEST), complete=True)

    solution = verified(PROBLEM, solve(PROBLEM, Scripted(script)))
    assert seen[0] == [5 - 3]  # solvers see costs and budgets above the least that every selection costs
    assert len(seen) == 2
    assert seen[1] < seen[0]
    assert solution.value == 5.0
    assert solution.status is Status.FEASIBLE
    assert solution.stats["tightened"] is True


def test_nothing_found_under_the_tighter_budget_is_a_failure_too() -> None:
    calls: list[int] = []

    def script(problem: Problem) -> Answer:
        calls.append(1)
        return Answer(np.array([1, 4]) if len(calls) == 1 else None, complete=True)

    with pytest.raises(SolverFailure, match=r"scripted exceeds budget\[0\] = 5 by 2 "):
        solve(PROBLEM, Scripted(script))


def test_value_and_cost_are_recomputed_and_the_bound_is_found_without_help() -> None:
    solution = verified(PROBLEM, solve(PROBLEM, answers(CHEAPEST)))
    assert solution.value == 5.0
    assert solution.cost == (3,)
    assert solution.status is Status.FEASIBLE
    assert 0 < solution.bound <= 3.0


@pytest.mark.parametrize(
    "price", [[-1.0], [math.nan], [math.inf], [1.0, 1.0], [], [1e300], [5e-324], [[1.0]], [0.0], [7.25]]
)
def test_price_is_never_believed(price: list[float]) -> None:
    solution = verified(PROBLEM, solve(PROBLEM, answers(CHEAPEST, price=np.array(price))))
    assert solution.status is Status.FEASIBLE
    assert solution.bound <= 3.0


@pytest.mark.parametrize("price", [None, np.array([1.0]), np.array([-1.0])])
def test_claim_of_completeness_that_the_front_door_can_refute_is_a_failure(price: NDArray[np.float64] | None) -> None:
    assert solve(PROBLEM, "greedy").value < 5.0
    message = r"scripted says that nothing is better than 5\.0, but there is a selection worth 3\.0"
    with pytest.raises(SolverFailure, match=message):
        solve(PROBLEM, answers(CHEAPEST, complete=True, price=price))


def test_claim_of_completeness_that_the_warm_start_refutes_is_a_failure() -> None:
    assert verified(PROBLEM, solve(PROBLEM, answers(OPTIMAL, complete=True), warm=[1, 0])).status is Status.OPTIMAL
    message = r"scripted says that nothing is better than 5\.0, but the warm start is worth 3\.0"
    with pytest.raises(SolverFailure, match=message):
        solve(PROBLEM, answers(CHEAPEST, complete=True), warm=[1, 0])


@pytest.mark.parametrize("resolution", [math.nan, -1.0, math.inf])
def test_resolution_that_makes_no_sense_is_a_failure(resolution: float) -> None:
    with pytest.raises(SolverFailure, match=rf"scripted returned the resolution {resolution}: it must be finite"):
        solve(PROBLEM, answers(OPTIMAL, complete=True, resolution=resolution))


def test_claim_of_infeasibility_that_the_front_door_can_refute_is_a_failure() -> None:
    with pytest.raises(SolverFailure, match="scripted says that no selection is within every budget, but there is one"):
        solve(PROBLEM, answers(None, complete=True))


def test_no_answer_without_a_claim_is_unknown_with_a_bound() -> None:
    solution = verified(PROBLEM, solve(PROBLEM, answers(None)))
    assert solution.status is Status.UNKNOWN
    assert 0 < solution.bound <= 3.0


@pytest.mark.parametrize("error", [ValueError("bad"), ZeroDivisionError(), MemoryError("no room"), AssertionError("x")])
def test_crash_is_a_failure_that_names_backend_and_error(error: Exception) -> None:
    def script(_: Problem) -> Answer:
        raise error

    message = re.escape(f"scripted failed: {type(error).__name__}: {error}")
    with pytest.raises(SolverFailure, match=message) as caught:
        solve(PROBLEM, Scripted(script))
    assert caught.value.__cause__ is error


def test_interrupt_gives_the_best_selection_known() -> None:
    def script(_: Problem) -> Answer:
        raise KeyboardInterrupt

    solution = verified(PROBLEM, solve(PROBLEM, Scripted(script)))
    assert solution.choice is not None
    assert solution.stats["interrupted"] is True
    worst = verified(PROBLEM, solve(PROBLEM, Scripted(script), warm=[1, 0]))
    assert worst.value == 3.0


def test_interrupt_before_any_selection_is_known_is_raised() -> None:
    def script(_: Problem) -> Answer:
        raise KeyboardInterrupt

    problem = Problem.from_table([[0.0, 0.0]], [[[2, 0]], [[0, 2]]], [1, 1])
    with pytest.raises(KeyboardInterrupt):
        solve(problem, Scripted(script))


def test_refusal_is_given_as_the_reason() -> None:
    with pytest.raises(InvalidProblem, match=r"^too many moons$"):
        solve(PROBLEM, Scripted(lambda _: Answer(None), refusal="too many moons"))
