"""One problem under many values: each selection is the one that `solve` finds."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mckp_quant.solvers import Greedy, InvalidProblem, NoSolution, Problem, best_choices, solve

from ..drawn import FEASIBLE, problems
from ..families import quantisation

if TYPE_CHECKING:
    from numpy.typing import NDArray


def drawn(problem: Problem, n: int, seed: int) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    return np.asarray(problem.value * np.exp(rng.choice([0.0, 0.1, 2.0]) * rng.normal(size=(n, problem.n_choices))))


@given(problems(max_budgets=2, budgets=FEASIBLE), st.integers(0, 2**32 - 1), st.booleans(), st.sampled_from([1, 2]))
def test_selections_are_those_of_single_solves(problem: Problem, seed: int, from_warm: bool, threads: int) -> None:
    values = drawn(problem, 5, seed)
    try:
        warm = solve(problem).require().choice if from_warm else None
        found = best_choices(problem, values, threads=threads, warm=warm)
    except NoSolution:
        with pytest.raises(NoSolution):
            solve(problem).require()
        return
    for choice, value in zip(found, values, strict=True):
        np.testing.assert_array_equal(choice, solve(dataclasses.replace(problem, value=value), warm=warm).choice)


@pytest.mark.parametrize("scale", [1e-300, 1e-12, 1e12, 1e300])
def test_values_of_any_size_are_told_apart(scale: float) -> None:
    problem = quantisation(12, (2, 3, 4, 8), share=0.4, seed=3)
    values = drawn(problem, 3, 1) / float(np.abs(problem.value).max())
    np.testing.assert_array_equal(best_choices(problem, scale * values), best_choices(problem, values))


def test_progress_reaches_the_number_of_all() -> None:
    problem = quantisation(6, (2, 8), share=0.5, seed=1)
    told: list[tuple[int, int]] = []
    best_choices(problem, drawn(problem, 130, 2), progress=lambda done, total: told.append((done, total)))
    assert told == [(done, 130) for done in range(1, 131)]
    assert best_choices(problem, np.zeros((0, problem.n_choices))).shape == (0, 6)


def test_other_solvers_are_asked_one_by_one() -> None:
    problem = quantisation(9, (2, 3, 8), share=0.5, seed=1)
    values = drawn(problem, 3, 4)
    for choice, value in zip(best_choices(problem, values, Greedy()), values, strict=True):
        np.testing.assert_array_equal(choice, solve(dataclasses.replace(problem, value=value), Greedy()).choice)


def test_what_makes_no_sense_is_refused() -> None:
    problem = quantisation(3, (2, 8), share=0.5, seed=1)
    with pytest.raises(
        InvalidProblem, match=r"values has the shape \(6,\): give one row for each solve, with 6 values"
    ):
        best_choices(problem, problem.value)
    with pytest.raises(InvalidProblem, match=r"values\[0, 5\] is nan: every value must be finite"):
        best_choices(problem, [[0.0] * 5 + [float("nan")]])
    with pytest.raises(InvalidProblem, match=r"threads is 0: it must be a whole number, at least 1"):
        best_choices(problem, [[0.0] * 6], threads=0)
