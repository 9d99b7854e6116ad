from __future__ import annotations

import dataclasses
import itertools
import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mckp_quant.solvers import InvalidProblem, Monotone, NoSolution, Problem, Solution, Status, solve

from .. import oracle
from ..checks import positions, solved, tolerance, verified
from ..drawn import FEASIBLE, problems
from ..families import quantisation, strongly_correlated

if TYPE_CHECKING:
    from mckp_quant.solvers.chains.solver import Direction


def few_labels(problem: Problem, most: int) -> Problem:
    """The same problem with labels that groups share: 0 up to `most`, each group's own order kept."""
    rng = np.random.default_rng(problem.n_choices)
    label = np.concatenate([rng.permutation(max(most, count))[:count] for count in problem.size.tolist()])
    return dataclasses.replace(problem, label=label)


def is_chain(labels: list[int], direction: str) -> bool:
    steps = [after - before for before, after in itertools.pairwise(labels)]
    return all(step <= 0 if direction == "fall" else step >= 0 for step in steps)


def best_chain(problem: Problem, direction: str) -> float | None:
    """By trying every selection within the budgets."""
    start, label = problem.start.tolist(), problem.label.tolist()
    for one in oracle.feasible(problem):
        if is_chain([label[first + own] for first, own in zip(start[:-1], one.choice, strict=True)], direction):
            return oracle.exactly(problem).number(one.value)
    return None


def checked(problem: Problem, solution: Solution, direction: str) -> Solution:
    if solution.choice is not None:
        assert is_chain(solution.choice.tolist(), direction)
        assert solution.stats["chain_bound"] <= solution.value + tolerance(problem)
        # The cost is rounded as it is, value and free value at their own size, with what groups have in common.
        free = solution.stats["free_value"]
        rounding = 2 * math.ulp(max(abs(solution.value), abs(free)))
        assert abs(solution.stats["chain_cost"] - (solution.value - free)) <= rounding
    return verified(problem, solution)


def built(**arrays: Any) -> Problem:
    return Problem(**arrays)


DIRECTIONS: tuple[Direction, ...] = ("fall", "rise")


@pytest.mark.slow
@given(
    drawn=problems(max_budgets=3, max_groups=6, max_choices=4),
    most=st.integers(2, 5),
    direction=st.sampled_from(DIRECTIONS),
)
@settings(max_examples=150)
def test_it_is_the_best_of_all_chains(drawn: Problem, most: int, direction: Direction) -> None:
    problem = few_labels(drawn, most)
    solution = checked(problem, solve(problem, Monotone(direction=direction)), direction)
    best = best_chain(problem, direction)
    if best is None:
        assert solution.choice is None
        assert solution.status is Status.INFEASIBLE or solution.stats["chain"] == "proved infeasible"
    else:
        assert solution.stats["chain"] == "proved optimal"
        assert solution.stats["chain_bound"] == solution.value
        assert best <= solution.value <= best + tolerance(problem)


@pytest.mark.slow
@given(drawn=problems(max_budgets=2, max_groups=6, max_choices=4, budgets=FEASIBLE), most=st.integers(2, 5))
@settings(max_examples=100)
def test_what_the_chain_costs_is_told_against_the_free_optimum(drawn: Problem, most: int) -> None:
    problem = few_labels(drawn, most)
    solution = checked(problem, solve(problem, "monotone"), "fall")
    free = oracle.optimum(problem)
    if solution.choice is None:
        return
    assert free is not None
    assert solution.stats["free"] == "optimum"
    assert abs(solution.stats["free_value"] - free) <= tolerance(problem)
    assert (solution.status is Status.OPTIMAL) == (solution.value <= free + tolerance(problem))
    without = solve(problem, Monotone(compare=False))
    assert without.stats["free"] == "bound"
    assert without.stats["free_value"] <= free
    assert without.choice is not None
    assert without.choice.tolist() == solution.choice.tolist()


@pytest.mark.parametrize("direction", DIRECTIONS)
@given(drawn=problems(max_groups=5, max_choices=4))
@settings(max_examples=60)
def test_rising_is_falling_from_the_other_end(direction: Direction, drawn: Problem) -> None:
    problem = few_labels(drawn, 4)
    groups = range(problem.n_groups - 1, -1, -1)
    order = np.concatenate([np.arange(problem.start[g], problem.start[g + 1]) for g in groups])
    start = np.concatenate([[0], np.cumsum(problem.size[::-1])])
    turned = Problem(problem.value[order], problem.cost[:, order], problem.budget, start, problem.label[order])
    other: Direction = "rise" if direction == "fall" else "fall"
    first, second = solve(problem, Monotone(direction=direction)), solve(turned, Monotone(direction=other))
    assert first.status is second.status
    assert math.isnan(first.value) == math.isnan(second.value)
    if first.choice is not None:
        assert abs(first.value - second.value) <= tolerance(problem)


def test_dominated_choice_is_taken_where_the_chain_asks_for_it() -> None:
    # Label 4 of group 0 is dearer and worse than its label 2, but only below it may group 1 take its good label 4.
    problem = built(
        value=[1.0, 2.0, 0.0, 9.0],
        cost=[[1, 2, 1, 1]],
        budget=[3],
        start=[0, 2, 4],
        label=[2, 4, 4, 2],
    )
    solution = checked(problem, solve(problem, "monotone"), "fall")
    assert solution.require().choice is not None
    assert solution.value == 2.0
    assert positions(problem, solution) == [1, 2]
    assert solution.stats["chain_cost"] == 1.0
    assert solution.status is Status.FEASIBLE


CLASH = built(value=[0.0, 0.0], cost=[[1, 1]], budget=[9], start=[0, 1, 2], label=[2, 8])


def test_where_no_chain_exists_the_reason_is_the_chain() -> None:
    solution = solve(CLASH, "monotone")
    assert solution.choice is None
    assert solution.status is Status.UNKNOWN
    assert solution.stats["chain"] == "proved infeasible"
    message = "no selection whose labels only fall is within every budget; without that rule there may be one"
    with pytest.raises(NoSolution, match=message):
        solution.require()
    assert solve(CLASH, Monotone(direction="rise")).value == 0.0
    assert solve(CLASH, "exact").value == 0.0


def test_warm_start_that_is_no_chain_does_not_take_its_place() -> None:
    problem = Problem.from_table([[1.0, 0.0], [0.0, 0.0]], [[0, 5], [0, 0]], 5)
    start = Problem.from_table([[0.0, 1.0], [5.0, 0.0]], [[0, 0], [0, 0]], 0)
    assert solve(start, "monotone", warm=[0, 1]).value == 1.0
    assert solve(start, Monotone(direction="rise"), warm=[0, 1]).value == 0.0
    assert solve(problem, "monotone", warm=[0, 0]).value == 0.0


def test_warm_start_that_is_the_best_chain_survives_every_limit() -> None:
    problem = strongly_correlated(30, 6, seed=2)
    best = solve(problem, Monotone(compare=False))
    assert best.stats["chain"] == "proved optimal"
    warm = solve(problem, Monotone(compare=False, max_states=1), warm=best.choice)
    assert warm.value == best.value


def test_stopped_by_its_memory_it_has_a_chain_and_a_true_bound() -> None:
    problem = strongly_correlated(30, 6, seed=2)
    best = solve(problem, Monotone(compare=False))
    stopped = checked(problem, solve(problem, Monotone(compare=False, max_states=10)), "fall")
    assert stopped.stats["chain"] == "not proved optimal"
    assert stopped.stats["states"] <= 10
    assert stopped.stats["chain_bound"] <= best.value <= stopped.value
    assert stopped.status is Status.FEASIBLE


@pytest.mark.parametrize("n_budgets", [1, 2, 3])
def test_chain_through_a_deep_network_is_proved(n_budgets: int) -> None:
    problem = quantisation(54, (2, 3, 4, 8), share=0.5, seed=3, n_budgets=n_budgets)
    solution = checked(problem, solve(problem, "monotone"), "fall")
    assert solution.stats["chain"] == "proved optimal"
    assert solution.stats["free"] == "optimum"
    assert solution.stats["chain_cost"] > 0
    assert solved(problem, "exact").value == pytest.approx(solution.stats["free_value"], rel=1e-12)


def test_interrupted_before_there_is_a_chain_nothing_else_takes_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = quantisation(30, (2, 4, 8), share=0.5, seed=3, n_budgets=2)
    free = solve(problem, "exact")
    assert free.choice is not None
    assert not is_chain(free.choice.tolist(), "fall")

    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("mckp_quant.solvers.chains.solver.best_price", interrupted)
    with pytest.raises(KeyboardInterrupt):
        solve(problem, "monotone")


def test_no_time_is_an_honest_answer() -> None:
    problem = quantisation(54, (2, 3, 4, 8), share=0.5, seed=3)
    solution = verified(problem, solve(problem, "monotone", seconds=1e-9))
    assert solution.stats["chain"] in ("not proved optimal", "none found")
    assert solution.choice is None or is_chain(solution.choice.tolist(), "fall")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"direction": "down"}, "direction is 'down': it must be one of fall, rise"),
        ({"max_states": 0}, "max_states is 0: it must be a whole number, at least 1"),
    ],
)
def test_option_that_makes_no_sense_is_refused_by_name(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidProblem, match=re.escape(message)):
        Monotone(**options)
