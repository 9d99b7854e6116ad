from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from mckp_quant import Layer, SensitivityTable
from mckp_quant.allocation.builder import build_request
from mckp_quant.allocation.constraints.peak_memory import chain
from mckp_quant.allocation.constraints.step_limits import Cut, conflicts, undominated
from mckp_quant.allocation.request import Request
from mckp_quant.formats.format import as_formats
from mckp_quant.solvers import solve

if TYPE_CHECKING:
    from mckp_quant.solvers import Problem

JOINT = as_formats([f"w{w}a{a}" for w in (2, 4, 8) for a in (2, 4, 8)])


def taken(cut: Cut, selection: tuple[int, ...]) -> int:
    return cut.fixed + sum(int(cost[selection[group]]) for group, cost in cut.cost.items())


@settings(max_examples=150)
@given(st.integers(0, 2**32 - 1))
def test_conflicts_allow_exactly_the_selections_that_fit_every_step(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups, columns = int(rng.integers(1, 5)), int(rng.integers(1, 5))
    cuts = []
    for _ in range(int(rng.integers(1, 4))):
        members = rng.permutation(groups)[: int(rng.integers(1, groups + 1))]
        cuts.append(Cut({int(at): rng.integers(0, 9, columns) for at in members}, int(rng.integers(0, 3))))
    barred = rng.random((groups, columns)) < 0.2
    barred[:, 0] = False
    limit = int(rng.integers(0, 22))
    rows, rest = conflicts(cuts, limit, barred)
    assert all(set(np.unique(row)) <= {0, 1} for row, _ in rows)
    open_columns = [np.flatnonzero(~barred[group]).tolist() for group in range(groups)]
    for selection in itertools.product(*open_columns):
        fits = all(taken(cut, selection) <= limit for cut in cuts)
        by_rows = all(int(row[np.arange(groups), list(selection)].sum()) <= most for row, most in rows)
        assert fits == (by_rows and all(taken(cut, selection) <= limit for cut in rest))
    if all(len(cut.cost) <= 2 for cut in cuts) and rows:
        assert rest == ()


def relaxed(problem: Problem) -> float:
    """The linear relaxation, written out: one choice per group in fractions."""
    choose = np.zeros((problem.n_groups, problem.n_choices))
    choose[problem.group, np.arange(problem.n_choices)] = 1
    found = linprog(
        problem.value,
        A_ub=problem.cost,
        b_ub=problem.budget,
        A_eq=choose,
        b_eq=np.ones(problem.n_groups),
        bounds=(0, 1),
    )
    return math.inf if found.fun is None else float(found.fun)


def chained(rng: np.random.Generator, n: int) -> SensitivityTable:
    layers = tuple(Layer(f"l{at}", "linear", (2, int(rng.integers(1, 9))), 2, 16) for at in range(n))
    loss = np.array([[1 / entry.weight_bits + 4 / (entry.activation_bits or 1) for entry in JOINT]] * n)
    return SensitivityTable(layers, JOINT, loss * rng.random((n, 9)), np.full((n, 9), np.nan))


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(30, 90))
def test_conflicts_never_relax_more_than_bytes_and_two_layers_not_at_all(seed: int, share: int) -> None:
    rng = np.random.default_rng(seed)
    table = chained(rng, 2)
    request = Request({"activation_bytes": f"{share}%"}, activations=chain(table, rng.integers(1, 40, 3).tolist())[:2])
    tight, _ = build_request(table, request)
    plain, _ = build_request(table, request, tight=False)
    bound = relaxed(tight)
    assert bound >= relaxed(plain) - 1e-9
    selections = itertools.product(*(range(*tight.start[at : at + 2]) for at in range(2)))
    within = [
        math.fsum(tight.value[list(each)])
        for each in selections
        if (tight.cost[:, each].sum(axis=1) <= tight.budget).all()
    ]
    assert bound == pytest.approx(min(within, default=math.inf), abs=1e-9)


def test_what_no_step_has_room_for_stays_stated_as_bytes() -> None:
    cut = Cut({0: np.array([5, 7])}, 0)
    rows, rest = conflicts([cut], 4, np.zeros((1, 2), dtype=bool))
    assert rows == []
    assert rest == (cut,)


def test_prices_of_many_steps_bound_as_the_linear_relaxation_does() -> None:
    rng = np.random.default_rng(3)
    table = chained(rng, 40)
    sizes = rng.integers(5, 40, 41).tolist()
    request = Request({"weight_bytes": "50%", "activation_bytes": "60%"}, activations=chain(table, sizes)[:-1])
    problem, _ = build_request(table, request, tight=False)
    assert problem.n_resources > 8
    certificate = solve(problem).certificate
    assert certificate.holds(problem)
    assert certificate.bound == pytest.approx(relaxed(problem), rel=1e-6)


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1))
def test_steps_that_are_left_out_are_never_the_only_peak(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups, columns = int(rng.integers(1, 4)), int(rng.integers(1, 4))
    cuts = [
        Cut({int(at): rng.integers(0, 12, columns) for at in rng.permutation(groups)[: int(rng.integers(1, 4))]}, 3 * k)
        for k in range(int(rng.integers(1, 5)))
    ]
    kept = undominated(cuts, np.zeros((groups, columns), dtype=bool))
    assert kept
    for selection in itertools.product(range(columns), repeat=groups):
        assert max(taken(cut, selection) for cut in kept) == max(taken(cut, selection) for cut in cuts)
