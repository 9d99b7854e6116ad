from __future__ import annotations

import dataclasses
import math
import re
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mckp_quant.solvers import Certificate, NoSolution, Problem, Solution, Status, solve
from mckp_quant.solvers.bounds.lagrangian import farkas_excess, lagrangian_bound
from mckp_quant.solvers.solution import LeastBudgets

from . import oracle
from .drawn import problems

PRICES = st.one_of(
    st.just(0.0),
    st.floats(0, 1e12, allow_subnormal=False),
    st.floats(0, 1e-9, allow_subnormal=False),
    st.sampled_from([1e300, 1e-300, 5e-324, 1.7e308, 1.0]),
)


def certificate(status: Status, price: Any, bound: float, ground: str = "none") -> Certificate:
    value = bound if ground == "dual gap closed" else math.inf
    return Certificate(status, ground, np.array(price, dtype=float), bound, tolerance=0.0, value=value)


def next_up(bound: Fraction) -> float:
    """The least float64 above an exact number."""
    number = float(bound)
    return number if Fraction(number) > bound else math.nextafter(number, math.inf)


@given(problem=problems(max_budgets=3), draw=st.data())
@settings(max_examples=300)
def test_no_certificate_holds_above_what_its_price_proves_exactly(problem: Problem, draw: st.DataObject) -> None:
    price = draw.draw(st.lists(PRICES, min_size=problem.n_resources, max_size=problem.n_resources).map(np.array))
    proved = oracle.dual(problem, price)
    bound = lagrangian_bound(problem, price)
    assert bound == -math.inf or Fraction(bound) <= proved
    assert certificate(Status.FEASIBLE, price, bound).holds(problem)
    try:
        above = next_up(proved)
    except OverflowError:
        above = math.inf if proved > 0 else -1e308
    if above < math.inf:
        assert not certificate(Status.OPTIMAL, price, above, "dual gap closed").holds(problem)
        assert not certificate(Status.OPTIMAL, price, above, "search exhausted").holds(problem)


@given(
    problem=problems(max_budgets=3, values=("any", "decades"), costs=("wide", "huge"), budgets=("least",)),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=200)
def test_bound_allows_for_the_rounding_of_every_group(problem: Problem, seed: int) -> None:
    price = np.random.default_rng(seed).random(problem.n_resources) * 10.0 ** (seed % 20 - 15)
    bound = lagrangian_bound(problem, price)
    assert Fraction(bound) <= oracle.dual(problem, price)
    assert farkas_excess(problem, price) <= oracle.excess(problem, price)


@given(problem=problems(max_budgets=3), draw=st.data())
@settings(max_examples=200)
def test_bound_loses_no_more_than_rounding(problem: Problem, draw: st.DataObject) -> None:
    moderate = st.floats(0, 1e6, allow_subnormal=False)
    price = draw.draw(st.lists(moderate, min_size=problem.n_resources, max_size=problem.n_resources).map(np.array))
    room = [abs(limit - least) for limit, least in zip(problem.budget.tolist(), problem.least_cost, strict=True)]
    spread = [int(row.max()) for row in problem.cost]
    terms = problem.n_groups * float(np.abs(problem.value).max())
    terms += sum(rate * (left + problem.n_groups * own) for rate, left, own in zip(price, room, spread, strict=True))
    lost = oracle.dual(problem, price) - Fraction(lagrangian_bound(problem, price))
    assert 0 <= lost <= Fraction(100 * 2.0**-52 * terms) + Fraction(1, 2**1060)


@given(problem=problems(max_budgets=3), draw=st.data())
@settings(max_examples=300)
def test_farkas_price_proves_infeasibility_only_where_it_does(problem: Problem, draw: st.DataObject) -> None:
    price = draw.draw(st.lists(PRICES, min_size=problem.n_resources, max_size=problem.n_resources).map(np.array))
    if certificate(Status.INFEASIBLE, price, math.inf).holds(problem):
        assert oracle.excess(problem, price) > 0


@pytest.mark.parametrize("short", [1, 2**40])
@pytest.mark.parametrize("resource", [0, 1])
def test_single_price_proves_one_unit_too_little(resource: int, short: int) -> None:
    problem = Problem.from_table(np.zeros((3, 2)), [[[2**60, 2**61]] * 3, [[0, 1]] * 3], [2**62, 3])
    price = np.eye(2)[resource]
    budget = list(problem.least_cost)
    assert farkas_excess(problem.with_budget(budget), price) <= 0
    budget[resource] -= short
    assert farkas_excess(problem.with_budget(budget), price) > 0


SMALL = Problem.from_table([[0.0, 1.0], [0.5, 2.0]], [[4, 1], [5, 2]], 6)


@pytest.mark.parametrize(
    "price", [[-1.0], [math.nan], [math.inf], [], [0.0, 0.0], [[0.0]], -0.5, [-5e-324], [-math.inf]]
)
def test_price_that_is_none_proves_nothing(price: Any) -> None:
    for status, bound in ((Status.OPTIMAL, -100.0), (Status.UNKNOWN, -math.inf), (Status.INFEASIBLE, math.inf)):
        for ground in ("none", "dual gap closed", "search exhausted"):
            assert not certificate(status, price, bound, ground).holds(SMALL)


@pytest.mark.parametrize(
    "changed",
    [
        {"ground": "dual gap closed"},
        {"ground": "dual gap closed", "tolerance": math.inf},
        {"ground": "dual gap closed", "tolerance": 100.0},
        {"ground": "dual gap closed", "value": -1e9},
        {"ground": "none"},
        {"ground": "because"},
        {"value": math.nan},
        {"value": -1e9},
        {"status": Status.FEASIBLE},
        {"tolerance": math.nan, "ground": "dual gap closed"},
    ],
)
def test_claim_that_was_changed_does_not_hold(changed: dict[str, Any]) -> None:
    """The optimum is 7 and the bound 6.5: only a search closes the gap."""
    problem = Problem.from_table([[9.0, 4, 1], [6, 5, 0.5]], [[2, 3, 5], [2, 4, 8]], 8)
    own = solve(problem).certificate
    assert (own.status, own.ground, own.value) == (Status.OPTIMAL, "search exhausted (exact)", 7.0)
    assert own.holds(problem)
    assert not dataclasses.replace(own, **changed).holds(problem)
    heuristic = solve(problem, "greedy").certificate
    assert heuristic.holds(problem)
    assert not dataclasses.replace(heuristic, status=Status.OPTIMAL).holds(problem)


def test_certificate_holds_at_the_bound_it_proves_and_not_for_other_problems() -> None:
    price = np.array([0.5])
    bound = lagrangian_bound(SMALL, price)
    own = certificate(Status.OPTIMAL, price, bound, "search exhausted")
    assert own.holds(SMALL)
    assert own.holds(SMALL.with_budget(7))  # costs add up to 6 or 9, never to 7
    assert not own.holds(SMALL.with_budget(9))
    assert not own.holds(Problem.from_table([[-1.0, 1.0], [0.5, 2.0]], [[4, 1], [5, 2]], 6))
    assert not own.holds(Problem.from_table(np.zeros((2, 2)), np.zeros((2, 2, 2)), [6, 6]))
    assert not dataclasses.replace(own, bound=math.nan).holds(SMALL)
    assert not dataclasses.replace(own, bound=math.inf).holds(SMALL)
    assert dataclasses.replace(own, bound=-math.inf).holds(SMALL)


def test_infeasibility_needs_a_farkas_price_or_an_exhausted_search() -> None:
    tight = SMALL.with_budget(2)
    assert certificate(Status.INFEASIBLE, [1.0], math.inf).holds(tight)
    assert not certificate(Status.INFEASIBLE, [1.0], math.inf).holds(SMALL)
    assert not certificate(Status.INFEASIBLE, [0.0], math.inf).holds(tight)
    assert not certificate(Status.INFEASIBLE, [1.0], 7.0).holds(tight)
    assert certificate(Status.INFEASIBLE, [0.0], math.inf, "search exhausted").holds(tight)
    assert not certificate(Status.INFEASIBLE, [0.0], 7.0, "search exhausted").holds(tight)


def solution(**changes: Any) -> Solution:
    fields: dict[str, Any] = {
        "choice": np.array([1, 0]),
        "value": 1.5,
        "cost": (6,),
        "budget": (6,),
        "status": Status.FEASIBLE,
        "bound": 1.25,
        "certificate": certificate(Status.FEASIBLE, [0.5], 1.25),
        "solver": "Greedy()",
        "seed": 0,
        "seconds": 2.25,
        "stats": {},
    }
    return Solution(**(fields | changes))


@pytest.mark.parametrize(
    ("value", "bound", "gap", "relative"),
    [
        (1.5, 1.25, 0.25, 0.25 / 1.5),
        (-1.0, -2.0, 1.0, 0.5),
        (0.0, 0.0, 0.0, 0.0),
        (1.5, 1.5, 0.0, 0.0),
        (0.0, -4.0, 4.0, 1.0),
        (1.0, -math.inf, math.inf, math.nan),
    ],
)
def test_gap_is_value_less_bound_over_the_larger(value: float, bound: float, gap: float, relative: float) -> None:
    answer = solution(value=value, bound=bound)
    assert answer.gap == gap
    assert answer.relative_gap == pytest.approx(relative, rel=1e-15, nan_ok=True)


def test_gap_of_nothing_is_nan() -> None:
    answer = solution(choice=None, value=math.nan, bound=math.inf, status=Status.INFEASIBLE)
    assert math.isnan(answer.gap)
    assert math.isnan(answer.relative_gap)


def test_require_gives_the_solution_that_has_a_choice() -> None:
    answer = solution()
    assert answer.require() is answer


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"status": Status.UNKNOWN},
            "Greedy() stopped before any feasible selection was found after 2.2 seconds: "
            "give it more seconds, or use 'exact'",
        ),
        (
            {"status": Status.INFEASIBLE, "budget": (6,), "least": lambda: LeastBudgets((8,))},
            "no selection is within every budget; budget[0] = 6: the least that works is 8",
        ),
        (
            {"status": Status.INFEASIBLE, "budget": (6, 3), "least": lambda: LeastBudgets((8, None))},
            "no selection is within every budget; budget[0] = 6: the least that works is 8; "
            "budget[1] = 3: no value of it works while the others stay",
        ),
        (
            {
                "status": Status.INFEASIBLE,
                "budget": (6, 3),
                "least": lambda: LeastBudgets((8, None), (0, 1)),
            },
            "no selection is within every budget; budget[0] = 6: the least found in time is 8; "
            "budget[1] = 3: no value that works was found in time",
        ),
    ],
)
def test_require_without_a_choice_says_why_and_what_works(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(NoSolution, match="^" + re.escape(message) + "$"):
        solution(choice=None, value=math.nan, cost=(), **changes).require()


def test_least_budgets_are_sought_once_and_only_when_asked_for() -> None:
    calls: list[int] = []

    def least() -> LeastBudgets:
        calls.append(1)
        return LeastBudgets((8, None), (1,))

    answer = solution(choice=None, value=math.nan, cost=(), status=Status.INFEASIBLE, budget=(6, 3), least=least)
    assert not calls
    assert answer.least_budget == (8, None)
    assert answer.least_budgets.unproved == (1,)
    assert len(calls) == 1
    assert solution().least_budget == ()


def test_status_reads_as_a_sentence() -> None:
    assert {status.value for status in Status} == {
        "proved optimal",
        "feasible, not proved optimal",
        "proved infeasible",
        "stopped before any feasible selection was found",
    }
