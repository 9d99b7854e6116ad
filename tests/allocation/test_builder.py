from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mckp_quant import Format, InvalidInput, Layer, Request, SensitivityTable, build
from mckp_quant.costs.costs import RESOURCES
from mckp_quant.formats.format import as_formats

from ..drawn_tables import make_table, tables

NAN = math.nan


def selections(
    table: SensitivityTable, tied: list[set[int]], pinned: dict[int, int]
) -> dict[tuple[int, ...], tuple[Any, ...]]:
    """Every choice of columns that the words of `build` allow, with its loss and costs, straight from the table."""
    found = {}
    for columns in itertools.product(range(len(table.formats)), repeat=len(table.layers)):
        loss = [table.loss[row, column] for row, column in enumerate(columns)]
        if np.isnan(loss).any() or any(len({columns[row] for row in rows}) > 1 for rows in tied):
            continue
        if any(columns[row] != column for row, column in pinned.items()):
            continue
        costs = tuple(
            sum(kind.cost(layer, table.formats[column]) for layer, column in zip(table.layers, columns, strict=True))
            for kind in RESOURCES.values()
        )
        found[columns] = (math.fsum(loss), *costs)
    return found


def problem_selections(table: SensitivityTable, **constraints: Any) -> dict[tuple[int, ...], tuple[Any, ...]]:
    """Every selection of the problem that `build` makes, as columns of the layers."""
    problem, index = build(table, Request(dict.fromkeys(RESOURCES, "50%"), **constraints))
    found = {}
    for position in itertools.product(*(range(*pair) for pair in itertools.pairwise(problem.start))):
        at = list(position)
        formats = index.policy_formats(problem.label[at])
        columns = tuple(table.formats.index(entry) for entry in formats)
        found[columns] = (math.fsum(problem.value[at]), *problem.cost[:, at].sum(axis=1).tolist())
    return found


def same(left: dict[tuple[int, ...], tuple[Any, ...]], right: dict[tuple[int, ...], tuple[Any, ...]]) -> None:
    assert left.keys() == right.keys()
    for key, (value, *costs) in left.items():
        other, *other_costs = right[key]
        assert costs == other_costs
        assert math.isclose(value, other, rel_tol=1e-12, abs_tol=1e-14)


@given(tables(most_layers=4))
def test_problem_has_exactly_the_selections_of_the_table(table: SensitivityTable) -> None:
    same(problem_selections(table), selections(table, [], {}))


@given(tables(most_layers=5, forbidden=0.05), st.integers(0, 2**32 - 1))
def test_ties_and_pins_leave_exactly_the_selections_that_keep_them(table: SensitivityTable, seed: int) -> None:
    rng = np.random.default_rng(seed)
    owner = rng.integers(0, 3, len(table.layers))
    tied = [set(np.flatnonzero(owner == own).tolist()) for own in range(2)]
    tied = [rows for rows in tied if len(rows) > 1]
    row = int(rng.integers(len(table.layers)))
    pinned = {row: int(rng.integers(len(table.formats)))} if rng.random() < 0.7 else {}
    wanted = selections(table, tied, pinned)
    assume(wanted)
    names = table.layer_names
    found = problem_selections(
        table,
        tied=[[names[at] for at in rng.permutation(sorted(rows))] for rows in tied],
        pinned={names[at]: table.formats[column].name for at, column in pinned.items()},
    )
    same(found, wanted)


@given(tables(forbidden=0.0), st.integers(0, 2**32 - 1))
def test_order_of_layers_changes_nothing_but_the_order_of_groups(table: SensitivityTable, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(table.layers))
    shuffled = SensitivityTable(
        tuple(table.layers[row] for row in order), table.formats, table.loss[order], table.stderr[order]
    )
    budgets = dict.fromkeys(RESOURCES, "37.5%")
    problem, _ = build(table, budgets)
    other, _ = build(shuffled, budgets)
    size = len(table.formats)
    assert other.budget.tolist() == problem.budget.tolist()
    assert (other.value.reshape(-1, size) == problem.value.reshape(-1, size)[order]).all()
    assert (other.cost.reshape(3, -1, size) == problem.cost.reshape(3, -1, size)[:, order]).all()


@given(tables(), st.sampled_from(sorted(RESOURCES)))
def test_the_whole_of_a_percentage_admits_the_costliest_selection(table: SensitivityTable, name: str) -> None:
    problem, _ = build(table, {name: "100%"})
    largest = np.maximum.reduceat(problem.cost, problem.start[:-1], axis=1).sum(axis=1)
    assert largest.tolist() == problem.budget.tolist()


def test_percentage_does_not_move_with_pins_and_ties() -> None:
    table = make_table([[3, 2, 1], [3, 2, 1], [3, 2, NAN]])
    plain, _ = build(table, {"weight_bytes": "40%"})
    bound, _ = build(table, Request({"weight_bytes": "40%"}, pinned={"a": "w2"}, tied=[["b", "c"]]))
    assert plain.budget.tolist() == bound.budget.tolist()


@given(tables())
def test_table_is_not_touched(table: SensitivityTable) -> None:
    before = table.loss.copy()
    build(table, Request({"weight_bytes": "50%"}, pinned={}, tied=[]))
    assert np.array_equal(table.loss, before, equal_nan=True)


def test_groups_are_in_the_order_of_their_first_layers() -> None:
    table = make_table([[3.0, 2, 1]] * 4)
    problem, index = build(table, Request({"bops": "60%"}, tied=[["d", "b"]], pinned={"d": "w4"}))
    assert index.groups == ((0,), (1, 3), (2,))
    assert index.tied == (("b", "d"),)
    assert index.pinned == (("b", "w4"), ("d", "w4"))
    assert index.resources == ("bops",)
    assert problem.size.tolist() == [3, 1, 3]


def test_pinned_layer_keeps_its_cost() -> None:
    table = make_table([[3.0, 2, 1], [3.0, 2, 1]])
    free, _ = build(table, {"weight_bytes": "100%"})
    pinned, _ = build(table, {"weight_bytes": "100%"}, pinned={"b": Format.named("w8")})
    layer = table.layers[1]
    assert pinned.least_cost[0] - free.least_cost[0] == Format.named("w8").storage_bytes(layer) - Format.named(
        "w2"
    ).storage_bytes(layer)


def test_other_names_of_a_shared_weight_mean_its_layer() -> None:
    layers = (Layer("embed", "embedding", (4, 2), 4, 0, ties=("head",)), Layer("fc", "linear", (2, 2), 2, 4))
    table = SensitivityTable(layers, as_formats("w2,w4"), np.ones((2, 2)), np.ones((2, 2)))
    _, index = build(table, {"weight_bytes": "100%"}, pinned={"head": "w4"})
    assert index.pinned == (("embed", "w4"),)
    _, index = build(table, Request({"weight_bytes": "100%"}, tied=[["head", "fc"]]))
    assert index.tied == (("embed", "fc"),)


def test_policy_formats_are_one_per_layer() -> None:
    table = make_table([[3.0, 2, 1]] * 3)
    _, index = build(table, Request({"bops": "60%"}, tied=[["a", "c"]]))
    assert [entry.name for entry in index.policy_formats(np.array([2, 0]))] == ["w8", "w2", "w8"]


TABLE = make_table([[3, 2, 1], [3, NAN, 1], [NAN, 2, NAN], [3, 2, 1]])


@pytest.mark.parametrize(
    ("budgets", "constraints", "words"),
    [
        ({}, {}, "no budget given: name at least one"),
        ({"weight_byte": 1}, {}, "unknown budget 'weight_byte': did you mean 'weight_bytes'"),
        ({"bops": 1}, {"pinned": {"aa": "w4"}}, "unknown layer 'aa': did you mean 'a'"),
        ({"bops": 1}, {"pinned": {"a": "w16"}}, "unknown format 'w16'"),
        ({"bops": 1}, {"pinned": {"b": "w4"}}, "layer 'b' is pinned to 'w4', which the table does not allow for 'b'"),
        (
            {"bops": 1},
            {"pinned": {"a": "w4"}, "tied": [["a", "b"]]},
            "layer 'a' is pinned to 'w4', which the table does not allow for 'b'",
        ),
        (
            {"bops": 1},
            {"pinned": {"a": "w2", "d": "w4"}, "tied": [["d", "a"]]},
            "layer 'd' is pinned to 'w4' but 'a', which must have the same format, is pinned to 'w2'",
        ),
        ({"bops": 1}, {"tied": [["a", "b"], ["b", "d"]]}, "layer 'b' stands in two tied sets: make them one set"),
        ({"bops": 1}, {"tied": [["a", "nope"]]}, "unknown layer 'nope'"),
        ({"bops": 1}, {"tied": ["ab"]}, "the tied set 'ab' is one text: give the names of its layers one by one"),
        (
            {"bops": 1},
            {"tied": [["b", "c"]]},
            "the tied layers 'b', 'c' have no format that is allowed for all of them",
        ),
    ],
)
def test_what_cannot_be_built_is_refused_in_the_words_of_networks(budgets: Any, constraints: Any, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        build(TABLE, Request(budgets, **constraints))


def test_path_for_a_table_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"table is a str: give a SensitivityTable, such as read_table\("):
        build("table.csv", {"bops": 1})  # type: ignore[arg-type]


def test_layer_with_nothing_allowed_is_named() -> None:
    table = make_table([[3, 2, 1], [NAN, NAN, NAN]])
    with pytest.raises(InvalidInput, match=r"layer 'b' has no format that is allowed \(every loss is nan\)"):
        build(table, {"bops": 1})


def test_costs_that_add_up_beyond_64_bits_are_named() -> None:
    layers = tuple(Layer(name, "linear", (1, 1), 1, macs=2**54) for name in "abc")
    table = SensitivityTable(layers, as_formats("w8"), np.zeros((3, 1)), np.zeros((3, 1)))
    for tied in ([], [["a", "b"]], [["a", "b", "c"]]):
        with pytest.raises(
            InvalidInput, match=r"no problem can be built from the table: .*(64 bits|2\*\*63).*resource 0 is bops"
        ):
            build(table, Request({"bops": 10}, tied=tied))


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([0, 0], "labels have the shape"),
        ([0.0] * 4, "give 4 integers"),
        ([0, 0, 0, 3], "label 3 is no format: there are 3 formats"),
        ([0, 0, 0, -1], "label -1 is no format"),
    ],
)
def test_labels_that_mean_nothing_are_refused(labels: Any, words: str) -> None:
    _, index = build(TABLE, {"bops": 1})
    with pytest.raises(InvalidInput, match=words):
        index.policy_formats(labels)
