from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mckp_quant import Constraints, InvalidInput, Policy, Request, SensitivityTable, allocate, build

from ...drawn_tables import make_table, tables


def keeps(table: SensitivityTable, columns: tuple[int, ...], constraints: Constraints) -> bool:
    """Whether a policy, given by its columns, keeps the constraints: straight from their words."""
    formats = [table.formats[column] for column in columns]
    by_layer = dict(zip(table.layer_names, formats, strict=True))
    if constraints.max_formats is not None and len(set(columns)) > constraints.max_formats:
        return False
    if constraints.previous is not None and constraints.max_changes is not None:
        changes = sum(by_layer[name].name != constraints.previous[name].name for name in table.layer_names)
        if changes > constraints.max_changes:
            return False
    chains = [*constraints.falling, *(chain[::-1] for chain in constraints.rising)]
    return all(
        by_layer[before].weight_bits >= by_layer[after].weight_bits
        for chain in chains
        for before, after in itertools.pairwise(chain)
    )


def best(table: SensitivityTable, limit: int, constraints: Constraints) -> float:
    least = math.inf
    for columns in itertools.product(range(len(table.formats)), repeat=len(table.layers)):
        loss = [table.loss[row, column] for row, column in enumerate(columns)]
        size = sum(table.formats[c].storage_bytes(layer) for layer, c in zip(table.layers, columns, strict=True))
        if size <= limit and not np.isnan(loss).any() and keeps(table, columns, constraints):
            least = min(least, math.fsum(loss))
    return least


@pytest.mark.slow
@settings(max_examples=40)
@given(tables(most_layers=4, forbidden=0.0, own=False), st.integers(0, 2**32 - 1), st.integers(40, 100))
def test_policy_is_the_best_that_keeps_every_constraint(table: SensitivityTable, seed: int, share: int) -> None:
    rng = np.random.default_rng(seed)
    names = table.layer_names
    previous = Policy.on_table(table, [table.formats[at] for at in rng.integers(0, len(table.formats), len(names))])
    chain = tuple(names[at] for at in rng.permutation(len(names)))
    cases = [
        Constraints(max_formats=int(rng.integers(1, 3))),
        Constraints(previous=previous, max_changes=int(rng.integers(0, len(names) + 1))),
        Constraints(falling=(chain,)),
        Constraints(rising=(chain,)),
        Constraints(max_formats=2, previous=previous, max_changes=len(names), falling=(chain,)),
    ]
    limit = build(table, {"weight_bytes": f"{share}%"})[1].budgets[0].limit
    for constraints in cases:
        wanted = best(table, limit, constraints)
        if wanted == math.inf:
            continue
        policy = allocate(table, Request({"weight_bytes": limit}, constraints=constraints)).policy
        columns = tuple(table.column(entry.name) for entry in policy.formats)
        assert keeps(table, columns, constraints)
        assert policy.costs["weight_bytes"] <= limit
        assert policy.predicted == pytest.approx(wanted, rel=1e-9, abs=1e-9)


def test_tied_layers_count_as_the_layers_they_are() -> None:
    table = make_table([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0], [3.0, 2.0, 1.0]])
    previous = Policy.uniform(table, "w2")
    found = [
        allocate(
            table,
            Request(
                {"weight_bytes": "100%"},
                tied=[["a", "b"]],
                constraints=Constraints(previous=previous, max_changes=most),
            ),
        ).policy
        for most in range(4)
    ]
    assert [policy.predicted for policy in found] == [9.0, 7.0, 5.0, 3.0]
    falling = Constraints(falling=(("a", "b"),))
    assert build(table, Request({"weight_bytes": "100%"}, tied=[["a", "b"]], constraints=falling))[0].rows is None


def test_no_constraint_makes_a_plain_problem() -> None:
    table = make_table([[3.0, 2.0, 1.0]])
    assert build(table, Request({"weight_bytes": "100%"}, constraints=Constraints()))[0].rows is None


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"max_formats": 0}, "max_formats is 0: it must be a whole number, at least 1"),
        ({"max_formats": 1.5}, "max_formats is 1.5: it must be a whole number"),
        ({"max_changes": 1}, "previous and max_changes belong together"),
        ({"previous": Policy.uniform(make_table([[1.0, 1, 1]]), "w2")}, "previous and max_changes belong together"),
        ({"falling": ("ab",)}, "the chain 'ab' is one text: give the names of its layers one by one"),
    ],
)
def test_limits_that_make_no_sense_are_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        Constraints(**fields)


def test_unknown_layers_are_named() -> None:
    table = make_table([[3.0, 2.0, 1.0]] * 2)
    with pytest.raises(InvalidInput, match="unknown layer 'z'"):
        build(table, Request({"weight_bytes": 9}, constraints=Constraints(falling=(("a", "z"),))))
    previous = Policy.uniform(make_table([[1.0, 1, 1]]), "w2")
    with pytest.raises(InvalidInput, match="unknown layer of the previous policy 'b'"):
        build(table, Request({"weight_bytes": 9}, constraints=Constraints(previous=previous, max_changes=1)))
    with pytest.raises(InvalidInput, match="max_changes is -1"):
        Constraints(previous=previous, max_changes=-1)
