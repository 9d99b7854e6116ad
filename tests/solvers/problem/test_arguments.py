"""The same wrong seed, time limit or count gets the same error, in the same words, from whatever takes one."""

from __future__ import annotations

import inspect
import math
import re
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mckp_quant import solvers
from mckp_quant.solvers import InvalidProblem, Problem, Rows, instances
from mckp_quant.solvers.problem.arguments import is_finite, is_number, is_whole
from mckp_quant.solvers.problem.arrays import integers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROBLEM = Problem.from_table([[4.0, 2.0, 0.0], [1.0, 0.5, 0.0]], [[1, 3, 9], [2, 4, 6]], 5)
SOLUTION = solvers.solve(PROBLEM)

# What a function needs before it looks at its seed, seconds and counts.
NEEDED: dict[str, tuple[Any, ...]] = {
    "best_choices": (PROBLEM, PROBLEM.value[None]),
    "explain": (PROBLEM, SOLUTION),
    "front": (PROBLEM,),
    "k_best": (PROBLEM,),
    "least_cost": (PROBLEM, 2.0),
    "quantisation": (instances.lognormal(3), (2, 4)),
    "resolve": (PROBLEM, SOLUTION),
    "solve": (PROBLEM,),
    "solve_many": (PROBLEM,),
}
INTEGERS = ("int", "int | None")
CHECKED_APART = {"resource", "n_budgets of quantisation"}  # these are choices, not counts
LEAST = {"max_points": 2, "population": 4, "max_nodes": 0, "max_sweeps": 0, "n_auxiliary": 0}

SEEDS = (-1, 1.5, 1.0, 2**63, True, np.True_, "1", None, math.nan)
SECONDS = (0, -1.0, math.nan, True, np.False_, "60", None, -math.inf)
COUNTS = (1.5, True, np.True_, "3", math.nan, math.inf)


def public() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Every public function and every class of solvers."""
    for module in (solvers, instances):
        for name in module.__all__:
            entry = getattr(module, name)
            if inspect.isfunction(entry) or (inspect.isclass(entry) and hasattr(entry, "reference")):
                yield name, entry


def cases(kind: str) -> list[Any]:
    """``(name of the argument, call that takes it)`` for each argument of a kind, of each function that has one."""
    found = [pytest.param("rows.n_auxiliary", _rows, id="Rows n_auxiliary")] if kind == "count" else []
    for function_name, function in public():
        parameters = inspect.signature(function).parameters
        for name, parameter in parameters.items():
            own = name if name in ("seed", "seconds") else "count" if parameter.annotation in INTEGERS else None
            if own == kind and not {name, f"{name} of {function_name}"} & CHECKED_APART:
                missing = {
                    other: 5
                    for other, each in parameters.items()
                    if each.default is each.empty and each.annotation in INTEGERS and other != name
                }
                call = partial(function, *NEEDED.get(function_name, ()), **missing)
                found.append(pytest.param(name, call, id=f"{function_name} {name}"))
    return found


def _rows(**options: Any) -> Rows:
    none = np.zeros(0, dtype=np.int64)
    return Rows(np.zeros(1, dtype=np.int64), none, none, none, none, n_auxiliary=options["rows.n_auxiliary"])


def refused(call: Callable[..., Any], name: str, value: object, words: str) -> None:
    with pytest.raises(InvalidProblem, match=f"^{re.escape(f'{name} is {value!r}: {words}')}$"):
        call(**{name: value})


@pytest.mark.parametrize(("name", "call"), cases("seed"))
def test_wrong_seed(name: str, call: Callable[..., Any]) -> None:
    for seed in SEEDS:
        refused(call, name, seed, "it must be a whole number from 0 to 2**63 - 1")
    call(seed=np.int64(3))


@pytest.mark.parametrize(("name", "call"), cases("seconds"))
def test_wrong_seconds(name: str, call: Callable[..., Any]) -> None:
    for seconds in SECONDS:
        refused(call, name, seconds, "give a number of seconds above 0")
    for enough in (np.float32(9), np.int64(9), math.inf):
        call(seconds=enough)


@pytest.mark.parametrize(("name", "call"), cases("count"))
def test_wrong_count(name: str, call: Callable[..., Any]) -> None:
    least = LEAST.get(name.removeprefix("rows."), 1)
    for count in (*COUNTS, least - 1, -7):
        refused(call, name, count, f"it must be a whole number, at least {least}")
    if name != "evaluations":  # at least the population
        call(**{name: np.int64(max(least, 3))})


def test_all_functions_with_such_an_argument_are_found() -> None:
    found = {kind: {case.id for case in cases(kind)} for kind in ("seed", "seconds", "count")}
    assert found["seed"] >= {"solve seed", "resolve seed", "lognormal seed", "zigzag seed"}
    timed = ("solve", "best_choices", "explain", "front", "k_best", "least_cost", "resolve", "solve_many")
    assert found["seconds"] == {f"{name} seconds" for name in timed}
    assert found["count"] >= {"k_best k", "front max_points", "Exact max_states", "CpSat threads", "llm n_groups"}


def test_truth_values_are_no_numbers_and_numpys_are() -> None:
    whole: list[object] = [3, np.int8(3), np.uint64(3)]
    broken: list[object] = [3.0, np.float32(3)]
    others: list[object] = [True, np.True_, "3", None, 3j]
    assert [is_whole(each) for each in (*whole, *broken, *others)] == [True] * 3 + [False] * 7
    assert [is_number(each) for each in (*whole, *broken, *others)] == [True] * 5 + [False] * 5
    assert [is_finite(each) for each in (*whole, *broken, *others)] == [True] * 5 + [False] * 5
    assert [is_number(each) for each in (math.inf, math.nan, 10**400)] == [True, True, True]
    assert [is_finite(each) for each in (math.inf, math.nan, 10**400)] == [False, False, True]


@pytest.mark.parametrize("kind", [np.uint64, np.uint8, np.float64, np.float32])
def test_whole_numbers_of_any_type_convert_alike_and_without_a_look_at_each(
    kind: type[np.generic], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = np.arange(200).reshape(2, 100)
    monkeypatch.setattr("mckp_quant.solvers.problem.arrays.place", None)
    monkeypatch.setattr("mckp_quant.solvers.problem.arrays.enumerate", None, raising=False)
    found = integers("cost", given.astype(kind), 2)
    assert found.dtype == np.int64
    assert (found == given).all()


def test_first_entry_that_does_not_convert_is_named() -> None:
    with pytest.raises(InvalidProblem, match=r"cost\[1\] is 9223372036854775808: it does not fit in 64 bits"):
        integers("cost", np.array([1, 2**63], dtype=np.uint64), 1)
    with pytest.raises(InvalidProblem, match=r"cost\[1\] is 0.5: it must be a whole number"):
        integers("cost", np.array([1, 0.5]), 1)
    with pytest.raises(InvalidProblem, match=r"cost\[0\] is nan: it must be a whole number"):
        integers("cost", np.array([np.nan]), 1)
