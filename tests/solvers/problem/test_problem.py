from __future__ import annotations

import dataclasses
import math
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mckp_quant.solvers import InvalidProblem, Problem

from .. import oracle
from ..checks import ARRAYS
from ..drawn import problems

SOUND: dict[str, Any] = {
    "value": [1.0, 0.5, 3.0],
    "cost": [[1, 2, 3]],
    "budget": [5],
    "start": [0, 2, 3],
    "label": [0, 1, 0],
}


def build(**changes: Any) -> Problem:
    return Problem(**(SOUND | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"value": [1.0, np.nan, 3.0]}, "value[1] is nan: every value must be finite"),
        ({"value": [1.0, 2.0, -np.inf]}, "value[2] is -inf: every value must be finite"),
        ({"value": [[1.0, 0.5, 3.0]]}, "value has 2 dimensions: it must have 1 (Problem.from_table takes tables)"),
        ({"value": [1.0, None, 3.0]}, "value[1] is None: every entry must be a number"),
        ({"value": [1.0, "low", 3.0]}, "value[1] is 'low': every entry must be a number"),
        ({"value": [1.0, 1j, 3.0]}, "value[1] is 1j: every entry must be a number"),
        ({"value": [1.0, 10**400, 3.0]}, "value has an entry beyond the range of float64"),
        ({"value": [[1.0], [2.0, 3.0]]}, "value is not a rectangular array"),
        ({"value": [1.0, 2.0]}, "start runs from 0 to 3: it must run from 0 to n_choices = 2"),
        ({"cost": [1, 2, 3]}, "cost has 1 dimensions: it must have 2"),
        ({"cost": [[1, 2, 3], [1, 2]]}, "cost is not a rectangular array"),
        ({"cost": [[1, -2, 3]]}, "cost[0, 1] is -2: a cost must not be negative"),
        ({"cost": [[1, 2.5, 3]]}, "cost[0, 1] is 2.5: it must be a whole number (choose a smaller unit)"),
        ({"cost": [[1, 2, np.nan]]}, "cost[0, 2] is nan: it must be a whole number"),
        ({"cost": [[np.inf, 2, 3]]}, "cost[0, 0] is inf: it must be a whole number"),
        ({"cost": [[1, 2**63, 3]]}, "cost[0, 1] is 9.223372036854776e+18: it does not fit in 64 bits"),
        ({"cost": [[1, 10**30, 3]]}, f"cost[0, 1] is {10**30}: it does not fit in 64 bits (choose a larger unit)"),
        ({"cost": [[1.0, 2.0**63, 3.0]]}, "cost[0, 1] is 9.223372036854776e+18: it does not fit in 64 bits"),
        ({"cost": [[1.0, 2.0**53 + 2, 3.0]]}, "cost[0, 1] is the float 9007199254740994.0: beyond 2**53 floats skip"),
        ({"value": [1.7e308, 0.0, -1e308]}, "the values of all groups add up beyond the range of float64 (the largest"),
        ({"cost": [[1, None, 3]]}, "cost[0, 1] is None: every entry must be a number"),
        ({"cost": [[1, 2]]}, "cost has shape (1, 2): 1 budgets and 3 choices need (1, 3)"),
        ({"cost": [[1, 2, 3], [1, 2, 3]]}, "cost has shape (2, 3): 1 budgets and 3 choices need (1, 3)"),
        ({"cost": np.zeros((0, 3)), "budget": []}, "budget is empty: give at least one budget"),
        ({"cost": [[2**62, 0, 2**62]]}, "the costs of resource 0 add up beyond 2**63: choose a larger unit"),
        ({"budget": [1.5]}, "budget[0] is 1.5: it must be a whole number (choose a smaller unit)"),
        ({"budget": [2**64]}, f"budget[0] is {2**64}: it does not fit in 64 bits"),
        ({"budget": ["90kB"]}, "budget[0] is '90kB': every entry must be a number"),
        ({"budget": None}, "budget[0] is None: every entry must be a number"),
        ({"budget": [[5]]}, "budget has 2 dimensions: it must have 1"),
        ({"budget": [[5], [5, 6]]}, "budget is not a rectangular array"),
        ({"start": [0]}, "start has fewer than two entries: a problem needs at least one group"),
        ({"start": []}, "start has fewer than two entries: a problem needs at least one group"),
        ({"start": [1, 3]}, "start runs from 1 to 3: it must run from 0 to n_choices = 3"),
        ({"start": [0, 2, 4]}, "start runs from 0 to 4: it must run from 0 to n_choices = 3"),
        ({"start": [0, 2, 2, 3]}, "group 1 is empty: start[1] = 2, start[2] = 2"),
        ({"start": [0, 4, 2, 3]}, "group 1 is empty: start[1] = 4, start[2] = 2"),
        ({"start": [0, 2**63 - 1, -2, 3]}, "group 1 is empty"),
        ({"label": [0, 1]}, "label has shape (2,): it must be (3,), one label per choice"),
        ({"label": [7, 7, 0]}, "label 7 stands twice in group 0: labels must differ within a group"),
        ({"label": [0, 0.5, 0]}, "label[1] is 0.5: it must be a whole number"),
    ],
)
def test_malformed_problem_is_refused_by_name_position_and_value(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidProblem, match=re.escape(message)):
        build(**changes)


@pytest.mark.parametrize(
    ("value", "cost", "budget", "message"),
    [
        ([1.0, 2.0], [[1, 2]], 3, "value has 1 dimensions: from_table takes (n_groups, n_columns)"),
        ([[1.0, 2.0]], [[1, 2, 3]], 3, "cost has shape (1, 3): for a value of shape (1, 2) it must be (1, 2)"),
        ([[1.0, 2.0]], [1, 2], 3, "cost has shape (2,): for a value of shape (1, 2) it must be (1, 2)"),
        ([[1.0, 2.0], [np.nan, np.nan]], [[1, 2], [1, 2]], 3, "group 1 is empty: every entry of value[1] is nan"),
        (np.zeros((2, 0)), np.zeros((2, 0)), 3, "group 0 is empty"),
        (np.zeros((0, 2)), np.zeros((0, 2)), 3, "a problem needs at least one group"),
        ([[1.0, np.inf]], [[1, 2]], 3, "value[0, 1] is inf: every value must be finite"),
        ([[1.0, 2.0], [3.0, 4.0]], [[1, 2], [3, -4]], 3, "cost[1, 1] is -4: a cost must not be negative"),
        ([[np.nan, 2.0], [3.0, 4.0]], [[[1, 2], [3, 4]], [[1, 2], [0.5, 4]]], [3, 3], "cost[1, 1, 0] is 0.5"),
        ([[1.0, 2.0]], [[1, 2]], [3, 4], "cost has shape"),
        ([[1.0, 2.0]], [[1, 2]], [[3]], "budget has 2 dimensions: it must have 1"),
    ],
)
def test_malformed_table_is_refused_by_its_place_in_the_table(value: Any, cost: Any, budget: Any, message: str) -> None:
    with pytest.raises(InvalidProblem, match=re.escape(message)):
        Problem.from_table(value, cost, budget)


JUNK = st.sampled_from([None, "x", 1.5, np.nan, np.inf, -1, 2**63, -(2**70), 10**400, 1j, [1], True, np.float32(2.5)])


@given(name=st.sampled_from(sorted(SOUND)), junk=JUNK, at=st.integers(0, 2), depth=st.integers(0, 3))
@settings(max_examples=300)
def test_junk_anywhere_is_a_problem_or_refused_with_the_name_of_the_array(
    name: str, junk: Any, at: int, depth: int
) -> None:
    array: Any = junk
    if depth == 1:
        array = [junk]
    elif depth >= 2:
        flat = list(np.ravel(SOUND[name]))
        flat[min(at, len(flat) - 1)] = junk
        array = [flat] if name == "cost" or depth == 3 else flat
    refusal = ""
    try:
        problem = build(**{name: array})
    except InvalidProblem as error:
        refusal = str(error)
    else:
        assert problem.value.dtype == np.float64
        assert problem.cost.dtype == problem.budget.dtype == problem.start.dtype == problem.label.dtype == np.int64
    assert not refusal or re.search({"start": "start|group", "value": "value|n_choices"}.get(name, name), refusal)


def test_largest_costs_may_add_up_to_the_last_int64() -> None:
    problem = Problem.from_table([[0.0, 1.0], [0.0, 1.0]], [[2**62, 0], [2**62 - 1, 0]], 2**63 - 1)
    assert problem.cost.max(axis=1).tolist() == [2**62]
    with pytest.raises(
        InvalidProblem, match=r"resource 0 add up beyond 2\*\*63.*its largest cost is 4611686018427387904"
    ):
        Problem.from_table([[0.0, 1.0], [0.0, 1.0]], [[2**62, 0], [2**62, 0]], 2**63 - 1)


def test_whole_numbers_are_taken_whatever_their_type() -> None:
    for cost in ([[1.0, 2.0, 3.0]], np.array([[1, 2, 3]], dtype=np.uint8), np.array([[1, 2, 3]], dtype=object)):
        assert build(cost=cost).cost.tolist() == [[1, 2, 3]]
    assert build(budget=5).budget.tolist() == [5]


@given(problems(max_budgets=3))
@settings(max_examples=50)
def test_problem_is_a_frozen_copy(problem: Problem) -> None:
    arrays: dict[str, Any] = {name: np.array(getattr(problem, name)) for name in ARRAYS}
    again = Problem(**arrays)
    for name, array in arrays.items():
        own = getattr(again, name)
        assert not own.flags.writeable
        array[...] = array[::-1] if array.ndim == 1 else 0
        assert own.tolist() == getattr(problem, name).tolist()
    with pytest.raises(dataclasses.FrozenInstanceError):
        again.value = arrays["value"]  # type: ignore[misc]


@given(problems(max_budgets=3, max_groups=5, max_choices=4))
@settings(max_examples=50)
def test_derived_numbers_count_what_they_say(problem: Problem) -> None:
    groups = oracle.exactly(problem).groups
    assert problem.n_groups == len(groups)
    assert problem.size.tolist() == [len(group) for group in groups]
    assert problem.n_choices == sum(len(group) for group in groups)
    assert problem.n_resources == len(problem.budget)
    assert problem.group.tolist() == [g for g, group in enumerate(groups) for _ in group]
    for resource, least in enumerate(problem.least_cost):
        assert least == sum(min(cost[resource] for _, cost in group) for group in groups)


def test_table_leaves_nan_out_and_keeps_the_column_as_label() -> None:
    nan = math.nan
    problem = Problem.from_table(
        value=[[nan, 1.0, 2.0], [3.0, nan, nan]],
        cost=np.array([[[-1, 10, 20], [30, 0, 0]], [[nan, 1, 2], [3, nan, 0.5]]]),
        budget=[50, 5],
    )
    assert problem.label.tolist() == [1, 2, 0]
    assert problem.value.tolist() == [1.0, 2.0, 3.0]
    assert problem.cost.tolist() == [[10, 20, 30], [1, 2, 3]]
    assert problem.start.tolist() == [0, 2, 3]


@given(problems(max_groups=5))
@settings(max_examples=50)
def test_position_inverts_label(problem: Problem) -> None:
    for ends in (problem.start[:-1], problem.start[1:] - 1):
        assert problem.position(problem.label[ends]).tolist() == ends.tolist()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0], "the selection has 1 entries for 2 groups"),
        ([0, 1], "selection[1] is 1: group 1 has the labels [0]"),
        ([5, 0], "selection[0] is 5: group 0 has the labels [0, 1]"),
        ([0.5, 0], "selection[0] is 0.5: it must be a whole number"),
        ([[0, 0]], "selection has 2 dimensions: it must have 1"),
    ],
)
def test_selection_that_is_none_is_refused(labels: Any, message: str) -> None:
    with pytest.raises(InvalidProblem, match=re.escape(message)):
        build().position(labels)


def test_other_budgets_leave_the_problem_alone() -> None:
    problem = build()
    assert problem.with_budget([7]).budget.tolist() == [7]
    assert problem.with_budget(8).budget.tolist() == [8]
    assert problem.budget.tolist() == [5]
    with pytest.raises(InvalidProblem, match=r"budget\[0\] is 0.5: it must be a whole number"):
        problem.with_budget(0.5)
    with pytest.raises(InvalidProblem, match="2 budgets and 3 choices need"):
        problem.with_budget([1, 2])
