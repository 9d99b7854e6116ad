"""A new solver is one class in one file and one line in the registry: the conformance suite runs on a toy."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings

from mckp_quant.solvers import Answer, InvalidProblem, Problem, Solver, available, front_door, solve
from mckp_quant.solvers.problem.supports import refusal

from . import conformance
from .checks import verified
from .drawn import problems
from .golden import GOLDEN

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclasses.dataclass(frozen=True)
class Toy:
    """Put one price after another on all costs together, from nothing to everything, and keep the best that fits."""

    prices: int = 20
    name: ClassVar[str] = "toy"
    requires: ClassVar[str | None] = None
    reference: ClassVar[str] = "Everett (1963), Generalized Lagrange multiplier method"

    def supports(self, problem: Problem) -> str | None:
        """Give the reason why not, or None: every problem without further rows and pairs is taken."""
        return refusal(problem, self.name)

    def __call__(self, problem: Problem, *, seconds: float, seed: int, warm: NDArray[np.int64] | None) -> Answer:
        """Solve; neither time limit, seed nor warm start is used."""
        used = problem.cost.sum(axis=0, dtype=np.float64)
        found = []
        for share in np.linspace(0, 1, self.prices):
            order = np.lexsort(((1 - share) * problem.value + share * used, problem.group))
            choice = order[problem.start[:-1]]
            if (problem.cost[:, choice].sum(axis=1) <= problem.budget).all():
                found.append(choice)
        best = min(found, key=lambda choice: float(problem.value[choice].sum()), default=None)
        return Answer(best, stats={"tried": self.prices})


TOY = Toy()


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one line."""
    monkeypatch.setitem(front_door.SOLVERS, "toy", Toy)


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_problems(name: str) -> None:
    conformance.answers_golden_problem(TOY, name, complete=False)


@given(problem=problems(max_budgets=3, max_groups=5, max_choices=4))
@settings(max_examples=60)
def test_answers_are_what_they_say(problem: Problem) -> None:
    conformance.answer_is_what_it_says(TOY, problem)


@given(problem=problems(max_budgets=2, max_groups=5, max_choices=4))
@settings(max_examples=30)
def test_certificates_and_repetition(problem: Problem) -> None:
    conformance.tampered_certificate_is_refused(TOY, problem)
    conformance.same_call_gives_the_same_answer(TOY, problem)


def test_time_seeds_and_large_values() -> None:
    for seconds in (1e-9, np.inf):
        conformance.is_honest_whatever_the_time(TOY, seconds)
    conformance.takes_seed(TOY, 2**63 - 1)
    for size in (1e307, 1.7e308):
        conformance.answers_or_refuses_values(TOY, size)


@pytest.mark.usefixtures("registered")
def test_one_line_makes_it_known_by_name() -> None:
    assert available()["toy"] is None
    problem = conformance.FAMILIES["two budgets"]
    by_name = verified(problem, solve(problem, "toy"))
    assert by_name.solver == "Toy(prices=20)"
    assert repr(by_name.choice) == repr(solve(problem, TOY).choice)
    with pytest.raises(InvalidProblem, match=r"unknown solver 'toi': did you mean 'toy'\?"):
        solve(problem, "toi")


def test_an_object_needs_no_line() -> None:
    assert isinstance(TOY, Solver)
    assert "toy" not in available()
    assert solve(conformance.FAMILIES["zigzag"], Toy(prices=3)).stats["tried"] == 3
