from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mckp_quant import Constraints, InvalidInput, Request, SensitivityTable, allocate, build
from mckp_quant.allocation.constraints.conversion import Conversion
from mckp_quant.allocation.constraints.peak_memory import chain
from mckp_quant.solvers import NoSolution
from mckp_quant.tables.cost_table import CostTable

from ...drawn_tables import make_table, tables


def drawn(rng: np.random.Generator, table: SensitivityTable) -> Conversion:
    names = table.layer_names
    pairs = [pair for pair in itertools.permutations(names, 2) if rng.random() < 0.5]
    if rng.random() < 0.3:
        return Conversion("latency", pairs, int(rng.integers(0, 9)))
    kinds = itertools.product(table.format_names, table.format_names)
    return Conversion("latency", pairs, {kind: int(rng.integers(0, 9)) for kind in kinds if rng.random() < 0.7})


@settings(max_examples=40)
@given(tables(most_layers=4, own=False), st.integers(0, 2**32 - 1), st.booleans())
def test_policy_is_the_best_whose_latency_with_conversions_fits(table: SensitivityTable, seed: int, tie: bool) -> None:
    rng = np.random.default_rng(seed)
    names = table.layer_names
    cost = rng.integers(0, 20, table.loss.shape)
    latency = CostTable("latency", "ns", names, table.format_names, cost)
    conversions = [drawn(rng, table) for _ in range(2)]
    tied = [list(names[:2])] if tie and len(names) > 1 and not np.isnan(table.loss[:2]).any(axis=0).all() else []
    limit = int(rng.integers(10, 100))
    every: dict[tuple[int, ...], tuple[float, int]] = {}
    for columns in itertools.product(range(len(table.formats)), repeat=len(names)):
        loss = math.fsum(table.loss[row, column] for row, column in enumerate(columns))
        if math.isnan(loss) or (tied and columns[0] != columns[1]):
            continue
        total = sum(int(cost[row, column]) for row, column in enumerate(columns))
        chosen = {name: table.format_names[column] for name, column in zip(names, columns, strict=True)}
        for each in conversions:
            for before, after in each.edges:
                kind = (chosen[before], chosen[after])
                total += each.cost * (kind[0] != kind[1]) if isinstance(each.cost, int) else each.cost.get(kind, 0)
        every[columns] = (loss, total)
    within = [loss for loss, total in every.values() if total <= limit]
    constraints = Constraints(conversions=conversions)

    def answer() -> Any:
        return allocate(table, Request({"latency": limit}, costs=[latency], tied=tied, constraints=constraints)).policy

    if not within:
        with pytest.raises(NoSolution):
            answer()
        return
    policy = answer()
    loss, total = every[tuple(table.column(entry.name) for entry in policy.formats)]
    assert policy.costs["latency"] == total <= limit
    assert loss == pytest.approx(min(within), abs=1e-9 * max(1, abs(loss)))


def test_conversions_count_in_sums_and_not_in_peaks() -> None:
    table = make_table([[3.0, 2.0, 1.0]] * 2)
    constraints = Constraints(conversions=[Conversion("total_bytes", [("a", "b")], 1)])
    with pytest.raises(InvalidInput, match="conversions cannot count in total_bytes: it is a peak over the steps"):
        build(table, Request({"total_bytes": "99%"}, activations=chain(table, [10, 10, 10]), constraints=constraints))


def test_formats_that_convert_alike_share_a_binary() -> None:
    table = make_table([[4.0, 3.0, 2.0, 1.0]] * 2, "w2,w3,w4,w8")
    kinds = {("w2", "w8"): 5, ("w3", "w8"): 5, ("w4", "w8"): 5}
    constraints = Constraints(conversions=[Conversion("weight_bytes", [("a", "b")], kinds)])
    rows = build(table, Request({"weight_bytes": "90%"}, constraints=constraints))[0].rows
    assert rows is not None
    assert rows.n_auxiliary == 4
    assert rows.n_rows == 5


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Conversion("latency", ["ab"], 1), "the edge 'ab' of conversions in 'latency' must name two layers"),  # type: ignore[list-item]
        (lambda: Conversion("latency", [("a", "a")], 1), "must name two layers"),
        (lambda: Conversion("latency", [("a", "b")], -1), "a conversion in 'latency' costs -1: give whole numbers"),
        (lambda: Conversion("latency", [("a", "b")], {("w2", "w4"): True}), "costs True"),
    ],
)
def test_conversions_that_make_no_sense_are_refused(make: Any, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        make()


@pytest.mark.parametrize(
    ("conversion", "words"),
    [
        (Conversion("bops", [("a", "b")], 1), "unknown budget that conversions count in: 'bops'"),
        (Conversion("weight_bytes", [("a", "z")], 1), "unknown layer 'z'"),
        (Conversion("weight_bytes", [("a", "b")], {("w2", "w9"): 1}), "unknown format 'w9'"),
    ],
)
def test_names_that_the_table_does_not_know_are_refused(conversion: Conversion, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        build(
            make_table([[3.0, 2.0, 1.0]] * 2),
            Request({"weight_bytes": 99}, constraints=Constraints(conversions=[conversion])),
        )
