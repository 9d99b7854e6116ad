"""What NumPy masks, pandas' NA, None and nan stand for: the format is not allowed, or nothing was measured."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mckp_quant import InvalidInput, Layer, Request, SensitivityTable, allocate
from mckp_quant.formats.format import as_formats
from mckp_quant.tables import Handling, table_from_arrays, table_from_records
from mckp_quant.tables.cost_table import CostTable

LAYERS = tuple(Layer(name, "linear", (8, 8), 8, 64) for name in "ab")
FORMATS = as_formats("w2,w4,w8")
DATA = [[9.0, 4.0, 1.0], [6.0, 5.0, 0.5]]
DROP = Handling(missing="drop")


def pandas_na() -> Any:
    return pytest.importorskip("pandas", reason="pandas is not installed").NA


def masked(**options: Any) -> Any:
    return np.ma.array(np.array(DATA), mask=np.array([[0, 0, 1], [0, 0, 0]], dtype=bool), **options)


def frame() -> Any:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    return pandas.DataFrame([[9.0, 4.0, None], DATA[1]]).astype("Float64")


KINDS = {
    "mask": masked,
    "mask of objects": lambda: masked(dtype=object),
    "rows that are masked": lambda: [masked()[0], masked()[1]],
    "masked constant": lambda: [[9.0, 4.0, np.ma.masked], DATA[1]],
    "None": lambda: [[9.0, 4.0, None], DATA[1]],
    "nan": lambda: [[9.0, 4.0, float("nan")], DATA[1]],
    "NA": lambda: [[9.0, 4.0, pandas_na()], DATA[1]],
    "array of NA": lambda: np.array([[9.0, 4.0, pandas_na()], DATA[1]], dtype=object),
    "frame": frame,
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_stands_for_nothing_is_not_allowed(kind: str) -> None:
    wanted = np.array([[9.0, 4.0, np.nan], DATA[1]])
    made = SensitivityTable(LAYERS, FORMATS, KINDS[kind](), np.full((2, 3), np.nan))
    assert np.array_equal(made.loss, wanted, equal_nan=True)
    read = table_from_arrays(KINDS[kind](), LAYERS, FORMATS, handling=DROP)
    assert np.array_equal(read.table.loss, wanted, equal_nan=True)
    assert [(each.kind, each.layer, each.format) for each in read.findings] == [("missing", "a", "w8")]
    with pytest.raises(InvalidInput, match=r"1 cell that need a decision"):
        table_from_arrays(KINDS[kind](), LAYERS, FORMATS)
    errors = SensitivityTable(LAYERS, FORMATS, DATA, KINDS[kind]())  # type: ignore[arg-type]
    assert np.array_equal(errors.stderr, wanted, equal_nan=True)
    assert allocate(made, {"weight_bytes": "100%"}).policy["a"].name == "w4"


def test_masked_costs_keep_every_digit_of_the_others() -> None:
    whole = np.ma.array([[2**60 + 1, 3], [4, 5]], mask=np.array([[0, 1], [0, 0]], dtype=bool))
    found = CostTable("latency", "ns", ("a", "b"), ("w2", "w4"), whole).cost
    assert found.tolist() == [[2**60 + 1, -1], [4, 5]]


@pytest.mark.parametrize("nothing", [None, float("nan"), np.ma.masked, "NA"])
def test_one_cost_that_stands_for_nothing_was_not_measured(nothing: Any) -> None:
    entry = pandas_na() if nothing == "NA" else nothing
    costs = CostTable("latency", "ns", ("a", "b"), ("w2", "w4"), [[1, entry], [3, 4]])  # type: ignore[arg-type]
    assert costs.cost.tolist() == [[1, -1], [3, 4]]
    table = SensitivityTable(LAYERS, as_formats("w2,w4"), np.array(DATA)[:, :2], np.full((2, 2), np.nan))
    with pytest.raises(InvalidInput, match=r"latency of layer 'a' in format 'w4' was not measured"):
        allocate(table, Request({"latency": 9}, costs=[costs]))


@pytest.mark.parametrize("nothing", [None, float("nan"), np.ma.masked, "NA", ""])
def test_records_may_leave_out_facts_and_losses(nothing: Any) -> None:
    entry = pandas_na() if nothing == "NA" else nothing
    records: list[dict[str, object]] = [
        {"layer": "a", "shape": "8x8", "macs": entry, "kind": entry, "w4": 1.0, "w8": entry},
        {"layer": "b", "shape": "8x8", "macs": 64, "kind": "linear", "w4": 1.0, "w8": 0.5},
    ]
    table = table_from_records(records, handling=DROP).table
    assert [(layer.macs, layer.kind) for layer in table.layers] == [(None, ""), (64, "linear")]
    assert np.isnan(table.loss).tolist() == [[False, True], [False, False]]


def test_a_batch_of_unknown_size_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"batch_sizes\[1\] is nan: give the number of samples in every batch"):
        SensitivityTable(
            LAYERS,
            FORMATS,
            np.array(DATA),
            np.full((2, 3), np.nan),
            contributions=np.array([DATA, DATA]),
            batch_sizes=np.ma.array([2.0, 3.0], mask=np.array([0, 1], dtype=bool)),
        )
