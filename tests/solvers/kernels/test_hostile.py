"""Kernels read and write within the arrays that they are given, whatever these hold, or refuse them in words."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mckp_quant.solvers.kernels import dispatch

if TYPE_CHECKING:
    from numpy.typing import NDArray

KERNELS: Any = dispatch.compiled()
pytestmark = pytest.mark.skipif(KERNELS is None, reason="there are no compiled kernels here, or NumPy is forced")

EXTREME = [0, 1, -1, 2**62, -(2**62), 2**63 - 1, -(2**63)]
NUMBERS = [0.0, -0.0, 1.0, -1.0, 5e-324, 1e308, -1e308, math.inf, -math.inf, math.nan]


def ints(*numbers: int) -> NDArray[np.int64]:
    return np.array(numbers, dtype=np.int64)


def outputs(n_groups: int, n: int, n_resources: int = 1) -> list[NDArray[Any]]:
    groups = [np.zeros(size, dtype=np.int64) for size in (n_groups, n_groups, n_groups, n_groups + 1)]
    return [*groups, np.zeros(n, dtype=np.int64), np.zeros(n * n_resources, dtype=np.int64), np.zeros(n), np.zeros(n)]


@st.composite
def hostile(draw: st.DrawFn) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], np.random.Generator]:
    """Where groups begin, costs and values of any size and sign."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    sizes = rng.integers(1, draw(st.sampled_from([2, 6, 40])), draw(st.integers(1, 12)))
    start = np.concatenate([[0], np.cumsum(sizes)])
    n = int(start[-1])
    tame = draw(st.booleans())
    cost = rng.integers(0, 100, n) if tame else rng.choice(EXTREME, n)
    value = rng.normal(size=n) if draw(st.booleans()) else rng.choice(NUMBERS, n)
    return start, cost, value, rng


@given(hostile(), st.sampled_from(EXTREME))
def test_reduction_takes_any_numbers(problem: Any, budget: int) -> None:
    start, cost, value, _ = problem
    n_groups, n = len(start) - 1, len(cost)
    made = outputs(n_groups, n)
    found = KERNELS.reduce_one_budget(value, cost, start, *made, start[1:] - 1, budget, 3)
    assert 0 <= found[4] <= n_groups
    assert 0 <= found[5] <= n
    for selection in made[:2]:
        assert (selection >= start[:-1]).all()
        assert (selection < start[1:]).all()
    choice = np.zeros(n_groups, dtype=np.int64)
    counts = np.zeros(3, dtype=np.int64)
    KERNELS.solve_one_budget(value, cost, start, choice, np.zeros(3), counts, None, budget, 3, 500, 1, 600, 1.0)
    assert (choice >= start[:-1]).all()
    assert (choice < start[1:]).all()


@given(hostile(), st.sampled_from(EXTREME), st.integers(2, 5))
def test_reduction_of_several_budgets_takes_any_numbers(problem: Any, limit: int, n_resources: int) -> None:
    start, cost, value, rng = problem
    n_groups, n = len(start) - 1, len(cost)
    rows = np.array([rng.permutation(cost) for _ in range(n_resources)])
    made = outputs(n_groups, n, n_resources)
    budget, price, slack = np.full(n_resources, limit), np.zeros(n_resources), np.zeros(n_resources, dtype=np.int64)
    counts = rng.random(n) < 0.8
    found = KERNELS.reduce_several_budgets(
        value, rows, start, *made, budget, counts, price, slack, start[1:] - 1, 3, 1.0, 0.1
    )
    assert 0 <= found[3] <= n_groups
    assert 0 <= found[4] <= n
    assert (made[0] >= start[:-1]).all()
    assert (made[0] < start[1:]).all()
    if found[5]:
        assert (made[1] >= start[:-1]).all()
        assert (made[1] < start[1:]).all()


@given(hostile(), st.sampled_from(EXTREME), st.sampled_from(NUMBERS), st.sampled_from(NUMBERS), st.integers(1, 5))
def test_search_takes_any_numbers(problem: Any, left: int, rate: float, gap: float, n_resources: int) -> None:
    start, cost, value, rng = problem
    changes, count, found = np.full(len(start) - 1, -1), ints(-1), np.array([gap])
    reduced = rng.choice(np.abs(NUMBERS), len(cost))
    rows = np.array([rng.permutation(cost) for _ in range(n_resources)])
    slack, price = np.full(n_resources, left), np.full(n_resources, rate)
    price[-1] /= 3
    for kernel in (KERNELS.search_core, KERNELS.search_lists):
        if kernel is KERNELS.search_core and n_resources > 1:
            continue
        kernel(value, rows, start, reduced, slack, price, changes, count, found, 2000, 0.0, 0.0, 1.0)
        assert -1 <= count[0] < len(start)
        assert (changes[: max(count[0], 0)] < len(cost)).all()


@given(hostile(), st.integers(1, 3), st.sampled_from(NUMBERS))
def test_certificates_take_any_numbers(problem: Any, n_resources: int, price: float) -> None:
    start, cost, value, rng = problem
    n_groups, n = len(start) - 1, len(cost)
    above = np.tile(cost, (n_resources, 1))
    position, near, reference = (np.zeros(size, dtype=np.int64) for size in (n_groups, n, n))
    used, fits = np.zeros(n_resources, dtype=np.int64), rng.random(n) < 0.7
    prices = np.full(n_resources, price)
    count = KERNELS.cheapest(value, above, prices, start, position, near, reference, used, fits)
    assert -1 <= count <= n
    figures = np.zeros(3 * n_resources, dtype=np.int64)
    KERNELS.measure(above, start, np.zeros_like(above), figures)
    KERNELS.outweighed(value, start)
    KERNELS.whole_unit(value, fits, start)
    if count >= 0:
        KERNELS.deciding(value, start, start[1:] - 1, position, near[:count], np.zeros(2 * n_groups))


@given(hostile(), st.sampled_from([1, 3, 2**40]), st.integers(0, 5000), st.sampled_from(EXTREME))
def test_merges_take_any_values(problem: Any, unit: int, cells: int, room: int) -> None:
    _, cost, value, rng = problem
    with np.errstate(over="ignore"):
        cost = np.sort(np.maximum(cost, 0))
    own, extra = np.sort(rng.integers(0, 100, 4)), rng.choice(NUMBERS, 4)
    made, worth = np.full(4 * len(cost) + 2, -1), np.zeros(4 * len(cost) + 2)
    if cells and cost[-1] // unit >= cells:
        with pytest.raises(ValueError, match="the grid of a merge has a unit, and a cell for every state"):
            KERNELS.merge(cost, value, own, extra, made, worth, room, cells, unit)
        return
    room = max(room, 0)
    count = KERNELS.merge(cost, value, own, extra, made, worth, room, cells, unit)
    assert 0 <= count <= 4 * len(cost)
    assert made[-1] == -1  # one beyond what stays may be written, no more


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"cost": ints()}, "merge takes at least one state and one choice, at costs of 0 or more"),
        ({"cost": ints(-1, 2)}, "merge takes at least one state and one choice, at costs of 0 or more"),
        ({"own": ints(3, 0)}, "the costs of states, and of choices, must rise"),
        ({"unit": 0}, "the grid of a merge has a unit, and a cell for every state"),
        ({"room": -1}, "merge takes a room of 0 or more"),
        ({"cells": 4}, "the grid of a merge has a unit, and a cell for every state"),
        ({"made": ints(0, 0, 0, 0)}, "merge needs room for one state more than there are cells, or pairs"),
    ],
)
def test_wrong_merges_are_refused_in_words(changed: dict[str, Any], text: str) -> None:
    value, made = np.array([2.0, 1.0]), np.zeros(5, dtype=np.int64)
    good: dict[str, Any] = {
        "cost": ints(0, 4),
        "value": value,
        "own": ints(0, 3),
        "extra": value,
        "made": made,
        "worth": np.zeros(5),
    }
    good |= {"room": 9, "cells": 8, "unit": 1}
    assert KERNELS.merge(*good.values()) == 3
    with pytest.raises(ValueError, match=text):
        KERNELS.merge(*(good | changed).values())


def test_a_core_without_groups_is_searched() -> None:
    none, count, found = np.zeros(0), ints(-1), np.array([1.0])
    empty = np.zeros(0, dtype=np.int64)
    for kernel in (KERNELS.search_core, KERNELS.search_lists):
        found[0] = 1.0
        complete, kept = kernel(
            none, empty, ints(0), none, ints(5), np.array([0.1]), empty, count, found, 10, 0.0, 0.0, 1.0
        )
        assert (complete, kept, count[0], found[0]) == (1, 0, 0, 0.5)


GOOD: dict[str, Any] = {
    "value": np.zeros(4),
    "start": ints(0, 2, 4),
    "choice": ints(1, 3),
    "position": ints(0, 2),
    "near": ints(1),
    "terms": np.zeros(4),
}
UNALIGNED = np.zeros(33, dtype=np.uint8)[1:].view(np.float64)
READ_ONLY = np.zeros(4)
READ_ONLY.setflags(write=False)


@pytest.mark.parametrize(
    ("name", "given_instead", "error", "text"),
    [
        (
            "value",
            np.zeros(4, dtype=np.float32),
            TypeError,
            "array 0 of a kernel must be aligned and of the type d, not f",
        ),
        ("value", UNALIGNED, TypeError, "must be aligned"),
        ("value", np.zeros(8)[::2], (ValueError, BufferError), "contiguous"),
        ("value", [0.0] * 4, TypeError, "bytes-like object is required"),
        ("start", np.zeros(3), TypeError, "array 1 of a kernel must be aligned and of the type q, not d"),
        ("start", ints(0, 2, 5), ValueError, "must go from 0 to the number of choices"),
        ("start", ints(1, 2, 4), ValueError, "must go from 0 to the number of choices"),
        ("start", ints(), ValueError, "must go from 0 to the number of choices"),
        ("start", ints(0, 4, 4), ValueError, "the start of groups must rise"),
        ("start", ints(0, 9, 4), ValueError, "the start of groups must rise"),
        ("choice", ints(1), ValueError, "an array of a kernel is too short"),
        ("choice", ints(1, 4), ValueError, "a selection has one position in each group"),
        ("position", ints(-1, 3), ValueError, "a selection has one position in each group"),
        ("near", ints(-1), ValueError, "what is nearly tied has a position among the choices"),
        ("near", ints(4), ValueError, "what is nearly tied has a position among the choices"),
        ("terms", READ_ONLY, (ValueError, BufferError), "read-only"),
        ("terms", np.zeros(3), ValueError, "an array of a kernel is too short"),
    ],
)
def test_wrong_arrays_are_refused_in_words(name: str, given_instead: Any, error: Any, text: str) -> None:
    KERNELS.deciding(*GOOD.values())
    with pytest.raises(error, match=text):
        KERNELS.deciding(*(GOOD | {name: given_instead}).values())


def test_wrong_numbers_of_arguments_are_refused() -> None:
    with pytest.raises(TypeError, match="a kernel was given 1 arguments instead of 2"):
        KERNELS.outweighed(np.zeros(2))


def test_wrong_problems_are_refused_in_words() -> None:
    value, cost, start = np.zeros(4), np.zeros(4, dtype=np.int64), ints(0, 2, 4)
    with pytest.raises(ValueError, match="a selection has one position in each group"):
        KERNELS.reduce_one_budget(value, cost, start, *outputs(2, 4), ints(0, 5), 0, 3)
    empty = np.zeros(0, dtype=np.int64)
    with pytest.raises(ValueError, match="reduce takes at least one group"):
        KERNELS.reduce_one_budget(np.zeros(0), empty, ints(0), *outputs(0, 0), None, 0, 3)
    with pytest.raises(ValueError, match="solve takes at least one group"):
        KERNELS.solve_one_budget(
            np.zeros(0), empty, ints(0), empty, np.zeros(3), ints(0, 0, 0), None, 0, 3, 1, 1, 1, 1.0
        )
    with pytest.raises(ValueError, match="a kernel takes a row of costs for each budget"):
        KERNELS.cheapest(value, cost, np.zeros(2), start, ints(0, 0), cost.copy(), cost.copy(), ints(0, 0), None)
    with pytest.raises(ValueError, match="a kernel takes a row of costs for each budget"):
        KERNELS.search_lists(value, cost, start, value, empty, value, ints(0, 0), ints(0), value, 9, 0.0, 0.0, 1.0)
    two = ints(*[0] * 8)
    with pytest.raises(ValueError, match="search_core takes one budget"):
        KERNELS.search_core(value, two, start, value, ints(0, 0), value, ints(0, 0), ints(0), value, 9, 0.0, 0.0, 1.0)
    with pytest.raises(ValueError, match="a core has a cost for each budget and choice"):
        KERNELS.search_lists(value, two, start, value, ints(0), value, ints(0, 0), ints(0), value, 9, 0.0, 0.0, 1.0)
    with pytest.raises(ValueError, match="reduce takes at least one group"):
        KERNELS.reduce_several_budgets(
            *(np.zeros(0), empty, ints(0), *outputs(0, 0, 2), ints(0, 0), np.zeros(0, dtype=bool), value, two),
            *(None, 3, 1.0, 0.1),
        )
    with pytest.raises(OverflowError):
        KERNELS.reduce_one_budget(value, cost, start, *outputs(2, 4), None, 2**63, 3)


@given(st.lists(st.sampled_from(NUMBERS), max_size=30), st.lists(st.sampled_from(NUMBERS), max_size=3))
def test_sums_take_any_numbers_and_refuse_positions_beyond_them(numbers: list[float], more: list[float]) -> None:
    value = np.array(numbers)
    every = np.arange(len(numbers))
    total = KERNELS.chosen_total(value, every)
    assert math.isfinite(total) or not np.isfinite(value).all() or np.abs(value).max() > 1e300
    assert not math.isnan(KERNELS.total_below(value, every, np.array(more)))
    for wrong in (ints(len(numbers)), ints(-1), ints(2**63 - 1)):
        with pytest.raises(ValueError, match="what is chosen has positions among the values"):
            KERNELS.chosen_total(value, wrong)
        with pytest.raises(ValueError, match="what is chosen has positions among the values"):
            KERNELS.total_below(value, wrong, np.array(more))
