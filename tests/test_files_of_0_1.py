"""Files that version 0.1 wrote are read as the same objects; tests/files_of_0_1/README.md says how they were made."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mckp_quant import (
    Activation,
    ActivationRanges,
    Format,
    Interactions,
    InvalidInput,
    Layer,
    Policy,
    RunOptions,
    SensitivityTable,
    allocate,
    build,
    measure,
    read_table,
)
from mckp_quant.solvers import Pairs, Problem, Rows, read_problem
from mckp_quant.tables import read_costs

FILES = Path(__file__).with_name("files_of_0_1")
OWN = Format("own", 3, 8, stored_bits=lambda layer: 3 * layer.elements + 8)
PARTS = np.array([[[4.0, 1.0, 2.0], [8.0, math.nan, 0.5]], [[5.0, 0.25, 2.5], [9.0, math.nan, 0.125]]])
BATCH_SIZES = np.array([3.0, 1.0])
RANGES = ActivationRanges("mse", 4, {("a", "a8"): (-1.0, 2.5)})
TABLE = SensitivityTable(
    (Layer("a", "linear", (2, 3), 2, 6), Layer("b", "conv2d", (3, 2, 1, 1), 3, 24, ties=("c",))),
    (Format.named("w2"), Format.named("w4a8"), OWN),
    np.tensordot(BATCH_SIZES / 4, PARTS, 1),
    np.array([[0.5, 0.25, math.nan], [1.0, math.nan, 0.125]]),
    contributions=PARTS,
    batch_sizes=BATCH_SIZES,
    method="gauss_newton",
    samples=4,
    seed=7,
    activations=(Activation(12, 0, 2, ("a",)), Activation(6, 1, 2)),
    ranges=RANGES,
    likelihood="categorical",
)
BUDGETS = {"weight_bytes": "90%", "bops": "80%"}


def assert_same(found: SensitivityTable, *, but: tuple[str, ...] = ()) -> None:
    """Every field is that of `TABLE`, except those that the kind of file does not hold."""
    for field in dataclasses.fields(SensitivityTable):
        own, read = getattr(TABLE, field.name), getattr(found, field.name)
        if field.name in but:
            continue
        if field.name == "formats":
            own, read = ([(e.name, e.weight_bits, e.activation_bits) for e in each] for each in (own, read))
        if isinstance(own, np.ndarray):
            assert np.array_equal(own, read, equal_nan=True), field.name
        else:
            assert own == read, field.name
    bits = [[[e.storage_bits(layer) for e in each.formats] for layer in TABLE.layers] for each in (TABLE, found)]
    assert bits[0] == bits[1]
    assert found.digest == TABLE.digest


def test_tables_in_json_and_npz_are_read_whole() -> None:
    assert_same(SensitivityTable.load(FILES / "table.json"))
    assert_same(read_table(FILES / "table.json").table)
    assert_same(read_table(FILES / "table.npz").table)


@pytest.mark.parametrize("name", ["table.csv", "table_long.csv"])
def test_tables_in_csv_are_read_but_for_what_csv_does_not_hold(name: str) -> None:
    assert_same(read_table(FILES / name).table, but=("contributions", "batch_sizes", "activations", "ranges"))


def test_policies_are_read_with_everything_that_was_known_of_them() -> None:
    policy = Policy.load(FILES / "policy.json")
    again = allocate(TABLE, {"weight_bytes": "90%"}, pinned={"b": "own"}).policy
    assert policy.made_by == "mckp-quant 0.1.0"
    for field in dataclasses.fields(Policy):
        own, read = getattr(again, field.name), getattr(policy, field.name)
        if field.name == "formats":
            own, read = ([(e.name, e.weight_bits, e.activation_bits) for e in each] for each in (own, read))
        if field.name == "budgets":  # what a budget is a percentage of is not kept
            own = tuple(dataclasses.replace(each, whole=0) for each in own)
        if field.name in {"bound", "tolerance"}:  # 0.1 allowed more for rounding; what it proved is kept as it was
            own = json.loads((FILES / "policy.json").read_text())[field.name]
        if field.name in {"corrected", "corrected_stderr", "correction"}:  # 0.1 corrected nothing
            own = field.default
        if field.name not in {"solver", "made_by"}:
            assert own == read or (math.isnan(own) and math.isnan(read)), field.name
    assert policy == again
    assert policy.expected.loss == policy.predicted
    assert again.tolerance < policy.tolerance
    assert again.bound - policy.tolerance <= policy.bound <= again.bound <= again.predicted


def test_problems_are_read_array_by_array() -> None:
    rich = Problem(
        value=np.array([3.0, 1.0, 2.0, 0.5]),
        cost=np.array([[1, 2, 2, 4]]),
        budget=np.array([5]),
        start=np.array([0, 2, 4]),
        label=np.array([0, 1, 0, 1]),
        rows=Rows(np.array([0, 2]), np.array([0, 2]), np.array([1, 1]), np.array([0]), np.array([1])),
        pairs=Pairs(np.array([0]), np.array([3]), np.array([0.25])),
    )
    for name, own in (("problem.json", build(TABLE, BUDGETS)[0]), ("problem_with_pairs.json", rich)):
        read = read_problem(FILES / name)
        for array in ("value", "cost", "budget", "start", "label"):
            assert np.array_equal(getattr(own, array), getattr(read, array)), (name, array)
        for part in ("rows", "pairs"):
            mine, theirs = getattr(own, part), getattr(read, part)
            assert (mine is None) == (theirs is None)
            for field in () if mine is None else dataclasses.fields(mine):
                assert np.array_equal(getattr(mine, field.name), getattr(theirs, field.name)), (name, field.name)


def test_interactions_are_read() -> None:
    read = Interactions.load(FILES / "interactions.npz")
    matrix = np.arange(72.0).reshape(2, 6, 6)
    assert (read.layer_names, read.formats) == (("a", "b"), ("w2", "w4", "own"))
    assert np.array_equal(read.parts, matrix + matrix.transpose(0, 2, 1))
    assert np.array_equal(read.batch_sizes, BATCH_SIZES)
    assert (read.unit, read.samples, read.seed) == ("nats per sample", 4, 7)


def test_costs_and_activation_ranges_are_read() -> None:
    costs = read_costs(FILES / "costs.csv", unit="us", per_unit=1000)
    assert (costs.layer_names, costs.formats) == (("a", "b"), ("w2", "w4a8"))
    assert costs.cost.tolist() == [[1500, 2250], [3000, -1]]
    assert ActivationRanges.load(FILES / "ranges.json") == RANGES


def test_measurements_that_were_interrupted_cannot_prove_what_they_belong_to(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))
    shutil.copy(FILES / "measurement.json", tmp_path / "measurement.json")
    run = RunOptions(checkpoint=tmp_path / "measurement.json")
    with pytest.raises(InvalidInput, match=r"was written by version 0.1, which did not note the network and the data"):
        measure(model, [torch.zeros(2, 2)], formats="w2,w4", run=run)
