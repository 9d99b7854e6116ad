"""Entries that are masked, None or NA are missing, as nan is."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from mckp_quant.solvers import InvalidProblem, Problem, instances, solve

VALUE: Any = [[9.0, 4.0, 1.0], [6.0, 5.0, 0.5]]
COST: Any = [[2, 3, 5], [2, 4, 8]]
MASK: Any = [[0, 0, 1], [0, 0, 0]]
MASKED: Any = np.ma.array(VALUE, mask=MASK)


class NAType:
    """As pandas has it, which need not be installed."""

    __module__ = "pandas._libs.missing"


@pytest.mark.parametrize(
    "value",
    [
        MASKED,
        list(MASKED),
        [[9.0, 4.0, None], VALUE[1]],
        [[9, 4, np.ma.masked], VALUE[1]],
        np.array([[9.0, 4.0, NAType()], VALUE[1]], dtype=object),
        [[9.0, 4.0, math.nan], VALUE[1]],
        np.ma.array([[9, 4, 1], [6, 5, 1]], mask=MASK),
    ],
)
def test_missing_value_is_not_allowed(value: Any) -> None:
    problem = Problem.from_table(value, COST, 9)
    assert problem.label.tolist() == [0, 1, 0, 1, 2]
    assert solve(problem).require().choice.tolist()[0] != 2  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "cost",
    [
        np.ma.array(COST, mask=MASK),
        [[2, 3, None], COST[1]],
        np.array([[2, 3, math.nan], COST[1]]),
        np.ma.array([COST, COST], mask=[MASK, np.zeros((2, 3))]),
    ],
)
def test_choice_of_missing_cost_is_not_allowed(cost: Any) -> None:
    budget = [9] * (2 if np.ndim(cost) == 3 else 1)
    assert Problem.from_table(VALUE, cost, budget).label.tolist() == [0, 1, 0, 1, 2]


def test_whole_numbers_beside_a_missing_one_stay_exact() -> None:
    cost: Any = [[2**60 + 1, None], [2**60 + 3, 0]]
    assert Problem.from_table([[0.0, 1.0], [0.0, 1.0]], cost, 2**62).cost.tolist() == [[2**60 + 1, 2**60 + 3, 0]]


def test_missing_entry_is_refused_where_nothing_can_be_left_out() -> None:
    flat = np.ma.array([1.0, 2.0], mask=[False, True])
    with pytest.raises(InvalidProblem, match=r"value\[1\] is masked: every entry must be a number"):
        Problem(flat, np.array([[0, 1]]), np.array([1]), np.array([0, 2]), np.array([0, 1]))
    with pytest.raises(InvalidProblem, match=r"budget\[0\] is masked: every entry must be a number"):
        Problem.from_table(VALUE, COST, np.ma.array([9], mask=[True]))
    with pytest.raises(InvalidProblem, match=r"group 0 is empty: every entry of value\[0\] is nan, or has a cost that"):
        Problem.from_table(np.ma.array(VALUE, mask=np.array([[1, 1, 1], [0, 0, 0]], dtype=bool)), COST, 9)


def test_published_form_takes_missing_entries_too() -> None:
    value = np.ma.array([[5.0, 9.0], [7.0, 1.0]], mask=np.array([[0, 1], [0, 0]], dtype=bool))
    weight = np.ma.array(
        [[[1, 4], [3, 2]], [[2, 2], [0, 0]]], mask=np.array([[[0, 0], [0, 0]], [[0, 0], [0, 1]]], dtype=bool)
    )
    assert instances.mmkp(value, weight, [9, 9]).label.tolist() == [0, 0]
