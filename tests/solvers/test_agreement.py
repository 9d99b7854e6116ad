"""The optimum, found by every complete solver and by an oracle that shares no code with them."""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mckp_quant.solvers import Exact, NoSolution, Problem, Solution, Status, solve

from . import oracle
from .checks import COMPLETE, agrees, here, positions, solved, solved_or_refused, tolerance
from .drawn import COSTS, VALUES, problems, random_problem, random_sizes
from .families import quantisation, strongly_correlated, subset_sum, zigzag

if TYPE_CHECKING:
    from collections.abc import Iterator

GENERAL = tuple(name for name in COMPLETE if name not in ("exact", "enumerate"))


def agrees_to_the_last_digits(problem: Problem, solution: Solution, best: float | None) -> None:
    """As `agrees`, but relative to the values chosen: a huge value that nobody takes excuses nothing."""
    agrees(problem, solution, best)
    if best is not None:
        chosen = problem.value[positions(problem, solution)]
        assert solution.value <= best + 1e-12 * math.fsum(np.abs(chosen).tolist())


@given(problem=problems(max_budgets=3, max_groups=5, max_choices=4))
@settings(max_examples=150)
def test_oracle_finds_what_trying_everything_finds(problem: Problem) -> None:
    everything = oracle.feasible(problem)
    best = oracle.exactly(problem).number(everything[0].value) if everything else None
    assert oracle.optimum(problem) == best


@given(problem=problems(max_groups=6))
@settings(max_examples=800)
def test_exact_and_enumerate_find_the_optimum_of_one_budget(problem: Problem) -> None:
    best = oracle.optimum(problem)
    exact, enumerate_ = solved(problem, "exact"), solved(problem, "enumerate")
    agrees_to_the_last_digits(problem, exact, best)
    agrees_to_the_last_digits(problem, enumerate_, best)
    assert exact.status is enumerate_.status


@pytest.mark.parametrize("solver", ["exact", "enumerate"])
@given(problem=problems(max_budgets=3, max_groups=6, max_choices=4))
@settings(max_examples=150)
def test_exact_and_enumerate_find_the_optimum_of_several_budgets(solver: str, problem: Problem) -> None:
    solution = solved_or_refused(problem, solver)
    if solution is not None:
        agrees_to_the_last_digits(problem, solution, oracle.optimum(problem))


@pytest.mark.parametrize("solver", GENERAL)
@given(problem=problems(max_budgets=3))
@settings(max_examples=120)
def test_general_solvers_find_the_optimum(solver: str, problem: Problem) -> None:
    here(solver)
    solution = solved_or_refused(problem, solver)
    assert solution is not None
    agrees(problem, solution, oracle.optimum(problem))


@pytest.mark.parametrize("solver", GENERAL)
@given(seed=st.integers(0, 2**32 - 1), values=st.sampled_from(VALUES), n_budgets=st.integers(1, 3))
@settings(max_examples=40)
def test_general_solvers_find_the_optimum_where_a_core_is_left(
    solver: str, seed: int, values: str, n_budgets: int
) -> None:
    here(solver)
    rng = np.random.default_rng(seed)
    costs = tuple(rng.choice(["wide", "huge", "quantisation"], n_budgets).tolist())
    problem = random_problem(rng, values, costs, ("between",) * n_budgets, 1 + random_sizes(rng, 7, 3))
    agrees(problem, solved(problem, solver), oracle.optimum(problem))


@given(problem=problems(max_budgets=3, max_groups=5, max_choices=3))
@settings(max_examples=100)
def test_infeasible_problems_name_the_least_budgets(problem: Problem) -> None:
    solution = solved(problem, "auto")
    if solution.status is Status.INFEASIBLE:
        assert solution.least_budget == oracle.least_budgets(problem)
        for resource, least in enumerate(solution.least_budget):
            if least is not None:
                budget = problem.budget.copy()
                budget[resource] = least
                assert solved(problem.with_budget(budget), "auto").status is Status.OPTIMAL
                budget[resource] = least - 1
                assert solved(problem.with_budget(budget), "auto").status is Status.INFEASIBLE


def test_least_budgets_are_exact_beside_costs_that_floats_cannot_tell_apart() -> None:
    common = 2**60
    cost = np.array([[[0, 1, 2], [3, 1, 5]], [[7, 2, 0], [0, 4, 9]]])
    problem = Problem.from_table(np.zeros((2, 3)), cost + common, [2 * common, 2 * common + 4])
    solution = solved(problem, "auto")
    assert solution.status is Status.INFEASIBLE
    assert solution.least_budget == oracle.least_budgets(problem) == (2 * common + 3, None)


def test_least_budgets_that_time_ran_out_on_are_not_called_the_least() -> None:
    rng = np.random.default_rng(0)
    cost = rng.integers(1, 1000, (5, 100, 10))
    cost[0] = np.maximum(5000 - cost[1:].sum(axis=0) + rng.integers(0, 50, (100, 10)), 0)
    least, most = cost.min(axis=2).sum(axis=1), cost.max(axis=2).sum(axis=1)
    budget = (least + most) // 2
    budget[0] = least[0] - 1
    solution = solve(Problem.from_table(rng.random((100, 10)), cost, budget), seconds=0.2)
    assert solution.status is Status.INFEASIBLE
    unproved = solution.least_budgets.unproved
    assert 0 in unproved
    assert all(solution.least_budget[at] is None for at in range(5) if at not in unproved)  # time may run out before
    assert solution.seconds < 10  # a limit of its own would be a minute
    with pytest.raises(NoSolution, match=r"budget\[0\] = \d+: the least found in time is \d+; budget\[1\]"):
        solution.require()
    with pytest.raises(NoSolution, match=r"no value of it works while the others stay$"):
        solution.require()


LARGE = {
    "54 layers x 7 formats": [
        quantisation(54, (2, 3, 4, 5, 6, 7, 8), share=f, seed=s) for f, s in ((0.2, 0), (0.5, 1))
    ],
    "224 layers x 4 formats": [quantisation(224, (2, 3, 4, 8), share=f, seed=s) for f, s in ((0.5, 2), (0.8, 3))],
    "54 layers x 4 formats, two budgets": [quantisation(54, (2, 3, 4, 8), share=0.5, seed=4, n_budgets=2)],
}


@pytest.mark.parametrize("shape", LARGE)
def test_solvers_agree_where_enumeration_is_hopeless(shape: str) -> None:
    for problem in LARGE[shape]:
        answers = []
        for solver in ("exact", "cp_sat", "highs"):
            here(solver)
            solution = solved_or_refused(problem, solver)
            if solution is not None:
                assert solution.status is Status.OPTIMAL
                answers.append(solution)
        assert len(answers) >= 2
        values = [solution.value for solution in answers]
        assert max(values) - min(values) <= 1e-12 * math.fsum(np.abs(problem.value).tolist())
        assert max(values) - min(values) <= tolerance(problem)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("family", [strongly_correlated, subset_sum, zigzag])
def test_exact_finds_the_optimum_of_hard_families(family: object, seed: int) -> None:
    assert callable(family)
    problem = family(15, 5, seed=seed)
    agrees_to_the_last_digits(problem, solved(problem, "exact"), oracle.optimum(problem))


@contextlib.contextmanager
def poor_start() -> Iterator[None]:
    """Without local search the first incumbent is seldom the best: the search itself has to find that."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mckp_quant.solvers.core.reduction.improve", lambda problem, selection, **_: selection)
        yield


@pytest.mark.parametrize("solver", ["exact", "cp_sat", "highs"])
@given(seed=st.integers(0, 2**32 - 1), values=st.sampled_from(VALUES), costs=st.sampled_from(COSTS))
@settings(max_examples=150)
def test_optimum_does_not_hang_on_the_first_incumbent(solver: str, seed: int, values: str, costs: str) -> None:
    here(solver)
    rng = np.random.default_rng(seed)
    problem = random_problem(rng, values, (costs,), ("between",), 1 + random_sizes(rng, 6, 4))
    with poor_start():
        solution = solved(problem, solver)
    agrees(problem, solution, oracle.optimum(problem))


@pytest.mark.parametrize("longest", [4_097, 40_000])
def test_group_may_have_more_choices_than_a_short_integer_counts(longest: int) -> None:
    rng = np.random.default_rng(0)
    few = np.array([0, 7, 11, 30])
    cost = np.concatenate([40 * np.arange(longest) + rng.integers(0, 9, longest), few])
    value = -cost.astype(float)
    start = np.array([0, longest, longest + len(few)])
    label = np.concatenate([np.arange(longest), np.arange(len(few))])
    budget = int(cost[longest - 100]) + 9
    filled = np.add.outer(cost[:longest], few)
    best = int(filled[filled <= budget].max())
    problem = Problem(value, cost[None], np.array([budget]), start, label)
    for solver in ("exact", "enumerate"):
        with poor_start():
            solution = solved(problem, solver)
        assert solution.status is Status.OPTIMAL
        assert solution.value == -best


def test_exact_stopped_by_its_memory_is_feasible_with_a_true_gap() -> None:
    problem = quantisation(12, (2, 3, 4, 5, 6, 7, 8), share=0.5, seed=3)
    best = oracle.optimum(problem)
    assert best is not None
    solution = solve(problem, Exact(max_states=1))
    assert solution.status is Status.FEASIBLE
    assert solution.bound < best <= solution.value
    assert solution.gap > 0
    assert solved(problem, Exact()).value == best


@pytest.mark.parametrize("scale", [1.0, 1e-9, 1e-12])
@pytest.mark.parametrize("solver", COMPLETE)
def test_values_that_almost_follow_costs_of_twelve_digits_are_told_apart(solver: str, scale: float) -> None:
    here(solver)
    # CBC with a dual tolerance of 1e-9 called a selection 0.2 % above the optimum optimal here.
    cost = np.array(
        [
            [571767222894, 19406318368, 191854454263, 248779005498],
            [211194219460, 519110351208, 199326302385, 570042683231],
            [825841476147, 72629354795, 242899670715, 496705128947],
            [46154172004, 143257779166, 574976259678, 399507880634],
        ]
    )
    bonus = np.array([[1, 0, 1, 1], [0, 0, 0, 1], [1, 1, 1, 0], [1, 1, 0, 1]]) * 677.2404
    value = (-1e-3 * cost + bonus) * scale
    solution = solve(Problem.from_table(value, cost, 1667306534859), solver)
    assert solution.status is Status.OPTIMAL
    assert solution.choice is not None
    assert solution.choice.tolist() == [3, 1, 3, 3]


@pytest.mark.parametrize("solver", GENERAL)
def test_large_integers_beside_an_objective_that_runs_along_them_lose_nothing(solver: str) -> None:
    here(solver)
    groups = (
        (46143960975102032,),
        (46666351238607093, 66487928031636153, 27451916469151396, 29569839348010102),
        (41059599479653509, 13935195275557855),
        (62133256788811211, 46933674545998385, 43764713334310511, 7532827295469923),
        (15740944481447000, 59543012109919633, 1031749588078318),
    )
    cost = np.array([entry for group in groups for entry in group])
    start = np.cumsum([0, *map(len, groups)])
    problem = Problem(-cost.astype(np.float64), cost[None], np.array([254971153062524111]), start, np.arange(len(cost)))
    agrees(problem, solved(problem, solver), oracle.optimum(problem))


@pytest.mark.parametrize("solver", GENERAL)
def test_presolving_loses_no_optimum_with_costs_of_2_to_the_30(solver: str) -> None:
    # CP-SAT 9.15 called a selection 3 % off optimal where it merged "exactly one" with the budgets.
    here(solver)
    first = [820043341, 115023729, 205301788, 589013817, 95149215, 44901155, 482564094, 48812263, 136564141]
    first += [628524256, 869032805, 291904812, 290854488, 119434824, 413544401, 531719620, 960046046]
    second = [715292215, 726260275, 900416521, 996682316, 675938996, 468762932, 284599264, 275132539, 433246402]
    second += [977923717, 402730778, 833214960, 523045281, 351743415, 485788428, 239716518, 881835021]
    third = [801140204, 604072350, 61262606, 764637223, 533813236, 639465816, 66813089, 754424819, 859255039]
    third += [244382568, 831778103, 595473554, 724086573, 178979036, 908092511, 209034648, 295002952]
    beside = [0, -1, 1, -1, 1, 1, 0, 0, -1, 1, 1, 1, 0, 0, 0, 1, 0]
    problem = Problem(
        value=-(np.array(first) + np.array(beside)).astype(np.float64),
        cost=np.array([first, second, third]),
        budget=np.array([2471567829, 3347649275, 2901028593]),
        start=np.array([0, 5, 6, 9, 13, 17]),
        label=np.arange(17),
    )
    solution = solved(problem, solver)
    assert solution.status is Status.OPTIMAL
    assert solution.value == -2471567830.0 == oracle.optimum(problem)


@pytest.mark.parametrize("seed", range(8))
def test_least_budgets_near_the_end_of_int64_are_the_least(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cost = np.stack([2**59 + rng.integers(0, 2**58, (4, 3)), rng.integers(0, 100, (4, 3))])
    least = cost.min(axis=2).sum(axis=1)
    problem = Problem.from_table(np.zeros((4, 3)), cost, [int(least[0]), int(least[1]) + 5])
    solution = solve(problem)
    if solution.status is Status.INFEASIBLE:
        assert "least_budget_not_proved" not in solution.stats
        assert solution.least_budget == oracle.least_budgets(problem)
