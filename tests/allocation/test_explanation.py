from __future__ import annotations

import logging

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mckp_quant import SensitivityTable, allocate, build
from mckp_quant.allocation.explanation import impossible, useless
from mckp_quant.solvers import NoSolution

from ..drawn_tables import make_table, tables

TABLE = make_table([[3.0, 2.0, 1.0]] * 5)


@given(tables(), st.integers(0, 120))
def test_a_budget_is_called_useless_exactly_when_nothing_exceeds_it(table: SensitivityTable, share: int) -> None:
    problem, index = build(table, {"weight_bytes": f"{share}%", "bops": "100%"})
    words = useless(problem, index)
    assert any("budget bops = 100%" in each and "changes nothing" in each for each in words)
    most = np.maximum.reduceat(problem.cost[0], problem.start[:-1]).sum()
    assert any("budget weight_bytes" in each for each in words) == (problem.budget[0] >= most)


def test_budgets_that_are_not_felt_are_told_with_the_answer(caplog: pytest.LogCaptureFixture) -> None:
    own_best = make_table([[1.0, 2.0, 3.0]] * 3)
    with caplog.at_level(logging.INFO, logger="mckp_quant"):
        found = allocate(own_best, {"weight_bytes": "60%"})
    assert found.notes == ("the budgets change nothing: the formats with the least loss are within all of them",)
    assert found.notes[0] in caplog.text
    assert allocate(TABLE, {"weight_bytes": "60%"}).notes == ()


def test_impossible_budget_names_what_would_do_and_the_layers_that_force_it() -> None:
    pins = {"e": "w8", "d": "w8", "c": "w4", "a": "w2"}
    problem, index = build(TABLE, {"weight_bytes": "20%", "bops": "100%"}, pinned=pins)
    (words,) = impossible(problem, index)
    assert words.startswith("budget weight_bytes = 20% (308 bytes) cannot be met: even the cheapest formats take ")
    least = sum(min(problem.cost[0, slice(*pair)]) for pair in zip(problem.start, problem.start[1:], strict=False))
    assert f"take {least:,} bytes (75.65%), the least that works" in words
    pinned = sum(problem.cost[0, problem.start[:-1]][np.diff(problem.start) == 1])
    assert f"layers with a single format take {pinned:,} bytes of it ('e', 'd', 'c' and 1 more)" in words
    with pytest.raises(NoSolution, match="layers with a single format take"):
        allocate(TABLE, {"weight_bytes": "20%"}, pinned=pins)


def test_nothing_is_blamed_where_no_layer_is_forced() -> None:
    (words,) = impossible(*build(TABLE, {"weight_bytes": 1}))
    assert "single format" not in words
    assert impossible(*build(TABLE, {"weight_bytes": "100%"})) == ()
