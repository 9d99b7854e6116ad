"""Names, options and arguments of `solve()` that make no sense, and packages that are not there."""

from __future__ import annotations

import dataclasses
import math
import re
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mckp_quant.solvers import (
    CpSat,
    Enumerate,
    Exact,
    Greedy,
    InvalidProblem,
    Problem,
    Pulp,
    SolverUnavailable,
    available,
    solve,
)

from . import oracle
from .checks import SOLVERS, here, verified
from .families import quantisation

if TYPE_CHECKING:
    from collections.abc import Callable

# The optimum takes choices 1 and 0 for 3.0.
PROBLEM = Problem.from_table([[4.0, 2.0, 0.0], [1.0, 0.5, 0.0]], [[1, 3, 9], [2, 4, 6]], 5)
TWO_BUDGETS = dataclasses.replace(PROBLEM, cost=np.vstack([PROBLEM.cost] * 2), budget=np.array([5, 5]))


def test_solvers_refuse_what_they_cannot_take() -> None:
    reason = Exact().supports(TWO_BUDGETS)
    if reason is not None:
        with pytest.raises(InvalidProblem, match="^" + re.escape(reason) + "$"):
            solve(TWO_BUDGETS, "exact")
    with pytest.raises(InvalidProblem, match=r"enumerate would have to try 9 selections, its limit is 8: use 'exact'"):
        solve(PROBLEM, Enumerate(max_selections=8))
    assert solve(PROBLEM, Enumerate(max_selections=9)).value == 3.0
    large = quantisation(54, (2, 4, 8), share=0.5, seed=0)
    with pytest.raises(InvalidProblem, match=r"enumerate would have to try 5.81e\+25 selections"):
        solve(large, "enumerate")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("exat", "unknown solver 'exat': did you mean 'exact'?"),
        ("Exact", "unknown solver 'Exact': did you mean 'exact'?"),
        ("cpsat", "unknown solver 'cpsat': did you mean 'cp_sat'?"),
        ("CP-SAT", "unknown solver 'CP-SAT': did you mean 'cp_sat'?"),
        ("higs", "unknown solver 'higs': did you mean 'highs'?"),
        ("", "unknown solver '': "),
        ("zzzzzz", "unknown solver 'zzzzzz': "),
    ],
)
def test_unknown_solver_suggests_the_nearest(name: str, message: str) -> None:
    with pytest.raises(InvalidProblem, match=re.escape(message)) as caught:
        solve(PROBLEM, name)
    for known in ("auto", *SOLVERS):
        assert known in str(caught.value)


@pytest.mark.parametrize("solver", [Exact, None, 3, b"exact", object(), dict])
def test_solver_that_is_none_is_refused(solver: Any) -> None:
    with pytest.raises(InvalidProblem, match=r"solver is .*: give a name \(.*\) or a solver such as Exact\(\)"):
        solve(PROBLEM, solver)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seconds": 0}, "seconds is 0: give a number of seconds above 0"),
        ({"seconds": np.False_}, "seconds"),
        ({"seconds": -1.0}, "seconds is -1.0: give a number of seconds above 0"),
        ({"seconds": math.nan}, "seconds is nan: give a number of seconds above 0"),
        ({"seconds": "60"}, "seconds"),
        ({"seconds": None}, "seconds"),
        ({"seed": -1}, "seed is -1: it must be a whole number from 0 to 2**63 - 1"),
        ({"seed": 0.5}, "seed"),
        ({"seed": None}, "seed"),
        ({"warm": [0]}, "the selection has 1 entries for 2 groups"),
        ({"warm": [0, 9]}, "selection[1] is 9: group 1 has the labels [0, 1, 2]"),
        ({"warm": [[0, 0]]}, "selection has 2 dimensions: it must have 1"),
        ({"warm": ["a", "b"]}, "selection[0] is 'a': every entry must be a number"),
    ],
)
def test_argument_that_makes_no_sense_is_refused_by_name(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidProblem, match=re.escape(message)):
        solve(PROBLEM, "exact", **arguments)


def test_problem_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidProblem, match="problem is a dict: build a Problem first"):
        solve({}, "exact")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Exact(max_states=0), "max_states is 0: it must be a whole number, at least 1"),
        (lambda: CpSat(threads=0), "threads is 0: it must be a whole number, at least 1"),
        (lambda: Pulp(threads=-1), "threads is -1: it must be a whole number, at least 1"),
        (lambda: Greedy(direction="sideways"), "direction is 'sideways': it must be one of both, ascend, descend"),  # type: ignore[arg-type]
        (lambda: Enumerate(max_selections=0), "max_selections is 0: it must be a whole number, at least 1"),
    ],
)
def test_option_that_makes_no_sense_is_refused_by_name(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(InvalidProblem, match=re.escape(message)):
        make()


def test_options_stand_in_the_record_of_the_run() -> None:
    solution = solve(PROBLEM, Exact(max_states=77), seed=3)
    assert solution.solver == "Exact(max_states=77)"
    assert solution.seed == 3
    assert solve(PROBLEM, "auto").solver.startswith("Exact(")
    with pytest.raises(dataclasses.FrozenInstanceError):
        Exact().max_states = 3  # type: ignore[misc]
    assert hash(Exact()) == hash(Exact())
    assert Exact() == Exact() != Exact(max_states=3)


@pytest.mark.parametrize(
    ("solver", "package"), [("cp_sat", "ortools"), ("highs", "scipy"), ("pulp", "pulp"), ("scip", "pyscipopt")]
)
def test_missing_package_is_named_before_and_at_the_call(
    solver: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = [[10.0, 12.0, 19.0], [14.0, 12.0, 10.0], [11.0, 18.0, 5.0], [16.0, 13.0, 0.0]]
    cost = [[17, 13, 10], [6, 6, 1], [2, 1, 4], [16, 13, 18]]
    problem = Problem.from_table(value, cost, 35)  # reduction leaves a core, so the backend is called
    here(solver)
    for module in [name for name in sys.modules if name == package or name.startswith(package + ".")]:
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, package, None)
    assert available()[solver] == f"the package {package!r} is not installed"
    assert available()["exact"] is None
    with pytest.raises(SolverUnavailable, match=rf"the package '{package}.*' cannot be imported .*install it with"):
        solve(problem, solver)
    assert solve(problem, "exact").value == 33.0


def test_available_names_the_registry() -> None:
    assert {"exact", "greedy", "enumerate", "cp_sat", "highs", "pulp"} <= set(available())
    assert "auto" not in available()


def test_warm_start_outside_the_budget_is_not_used() -> None:
    for solver in SOLVERS:
        assert verified(PROBLEM, solve(PROBLEM, solver, warm=[2, 2])).value == 3.0 or solver == "greedy"


def test_answer_is_no_worse_than_the_warm_start() -> None:
    best = oracle.optimum(PROBLEM)
    for solver in SOLVERS:
        assert verified(PROBLEM, solve(PROBLEM, solver, warm=[1, 0])).value == best


@pytest.mark.parametrize("seconds", [np.int64(5), np.float32(5), 5, math.inf])
def test_seconds_are_any_number(seconds: Any) -> None:
    assert solve(PROBLEM, "exact", seconds=seconds).choice is not None
