from __future__ import annotations

import itertools
import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mckp_quant import InvalidInput, Request, SensitivityTable, allocate, build
from mckp_quant.cli import main
from mckp_quant.costs.costs import VARIANTS, as_budget, cost_matrix
from mckp_quant.solvers import NoSolution
from mckp_quant.tables.cost_table import CostTable

from ..drawn_tables import make_table, tables

if TYPE_CHECKING:
    from pathlib import Path


def drawn_costs(table: SensitivityTable, seed: int, name: str = "latency", unit: str = "ns") -> CostTable:
    """Latencies in another order of layers than the table's."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(table.layers))
    names = tuple(table.layer_names[row] for row in order)
    return CostTable(name, unit, names, table.format_names, rng.integers(0, 50, (len(names), len(table.formats))))


def totals(table: SensitivityTable, costs: CostTable) -> dict[tuple[int, ...], tuple[float, int]]:
    """Every policy that the table allows, with its loss and its total cost, straight from the two tables."""
    found = {}
    for columns in itertools.product(range(len(table.formats)), repeat=len(table.layers)):
        loss = [table.loss[row, column] for row, column in enumerate(columns)]
        if not np.isnan(loss).any():
            rows = [costs.layer_names.index(name) for name in table.layer_names]
            cost = sum(int(costs.cost[row, column]) for row, column in zip(rows, columns, strict=True))
            found[columns] = (math.fsum(loss), cost)
    return found


@settings(max_examples=40)
@given(tables(most_layers=4), st.integers(0, 2**32 - 1), st.integers(0, 100))
def test_measured_costs_limit_policies_from_above_and_below(table: SensitivityTable, seed: int, share: int) -> None:
    costs = drawn_costs(table, seed)
    every = totals(table, costs)
    for least in (False, True):
        limit = as_budget("latency", f"{share}%", table, [costs], least=least).limit
        kept = [loss for loss, cost in every.values() if (cost >= limit if least else cost <= limit)]
        budgets: Any = {"at_least": {"latency": f"{share}%"}} if least else {}
        limits = {} if least else {"latency": f"{share}%"}
        if not kept:
            with pytest.raises(NoSolution, match="cannot be met: even the"):
                allocate(table, Request(limits, costs=[costs], **budgets))
            continue
        policy = allocate(table, Request(limits, costs=[costs], **budgets)).policy
        columns = tuple(table.formats.index(entry) for entry in policy.formats)
        scale = math.fsum(abs(loss) for loss in table.loss.ravel() if not math.isnan(loss))
        assert abs(policy.predicted - min(kept)) <= 1e-12 * scale
        assert policy.costs["latency"] == every[columns][1]
        assert policy.costs["latency"] >= limit if least else policy.costs["latency"] <= limit


def test_a_band_between_a_minimum_and_a_maximum_is_kept() -> None:
    table = make_table([[3.0, 2.0, 1.0]] * 3)
    costs = CostTable("energy", "nJ", ("c", "b", "a"), ("w2", "w4", "w8"), np.array([[1, 2, 4]] * 3))
    found = allocate(table, Request({"energy": 7}, at_least={"energy": "7"}, costs=[costs]))
    assert found.policy.costs["energy"] == 7
    assert [str(each) for each in found.policy.budgets] == ["energy = 7", "energy >= 7"]
    assert [each.in_units(7) for each in found.policy.budgets] == ["7 nJ", "7 nJ"]
    with pytest.raises(
        NoSolution, match=r"no policy is within all .*energy = 11: the least .* 12 nJ; energy >= 11: the most"
    ):
        allocate(
            table, Request({"energy": 11}, at_least={"energy": 11}, pinned={}, tied=[["a", "b", "c"]], costs=[costs])
        )


def test_impossible_minimum_names_the_most_that_works() -> None:
    table = make_table([[3.0, 2.0, 1.0]] * 2)
    most = 2000 * 8 * 32 + 1000 * 8 * 32
    with pytest.raises(
        NoSolution, match=rf"bops >= 10G .*costliest formats take {most:,} bit operations per sample, the m"
    ):
        allocate(table, Request({}, at_least={"bops": "10G"}))


@pytest.mark.parametrize(("asked", "limit"), [("1.5us", 1500), ("2ms", 2_000_000), (7, 7), ("7", 7), ("1s", 10**9)])
def test_amounts_of_time_may_say_their_unit(asked: Any, limit: int) -> None:
    table = make_table([[1.0, 2.0, 3.0]])
    costs = CostTable("latency", "ns", ("a",), table.format_names, np.array([[1, 2, 3]]))
    assert as_budget("latency", asked, table, [costs]).limit == limit
    for wrong in ("3ps", "3kB", "3h"):
        with pytest.raises(InvalidInput, match=r"has the unit '.*': known are ns, us, ms, s, or a percentage"):
            as_budget("latency", wrong, table, [costs])


@given(tables(own=False))
def test_variants_of_bit_operations_are_their_formulas(table: SensitivityTable) -> None:
    for layer, uniq, clado in zip(
        table.layers, cost_matrix("bops_uniq", table), cost_matrix("bops_gates", table), strict=True
    ):
        fan_in = math.prod(layer.shape[1:])
        for entry, first, second in zip(table.formats, uniq.tolist(), clado.tolist(), strict=True):
            w, a = entry.weight_bits, 32
            assert first == (layer.macs or 0) * (w * a + w + a + math.ceil(math.log2(fan_in)))
            assert second == (layer.macs or 0) * (5 * w * a - 2 * w + 32)
    assert set(VARIANTS) == {"bops_uniq", "bops_gates", "kv_cache_bytes", "memory_bytes"}


def test_costs_that_were_not_measured_matter_only_where_the_format_is_allowed() -> None:
    costs = CostTable("latency", "ns", ("a", "b"), ("w2", "w4"), np.array([[5, -1], [5, 6]]))
    table = make_table([[3.0, math.nan], [3.0, 2.0]], "w2,w4")
    assert cost_matrix("latency", table, [costs]).tolist() == [[5, 0], [5, 6]]
    with pytest.raises(InvalidInput, match="latency of layer 'a' in format 'w4' was not measured: measure it, or take"):
        build(make_table([[3.0, 2.0], [3.0, 2.0]], "w2,w4"), Request({"latency": 9}, costs=[costs]))
    with pytest.raises(InvalidInput, match="latency of layer 'b' in format 'w8' was not measured"):
        build(make_table([[3.0, math.nan], [3.0, 2.0]], "w2,w8"), Request({"latency": 9}, costs=[costs]))
    with pytest.raises(InvalidInput, match="unknown layer in the costs 'latency': 'c'"):
        build(make_table([[3.0, math.nan]] * 3, "w2,w4"), Request({"latency": 9}, costs=[costs]))


@pytest.mark.parametrize(
    ("layers", "formats", "cost", "words"),
    [
        (("a", "a"), ("w2",), [[1], [2]], "layer 'a' stands twice in the costs 'latency'"),
        (("a",), ("w2", "w2"), [[1, 2]], "format 'w2' stands twice in the costs"),
        (("a",), ("w2",), [[1, 2]], r"the costs 'latency' have the shape \(1, 2\): it must be \(1, 1\)"),
        (("a", "b"), ("w2",), [[1], [2, 3]], "the costs 'latency' are not rectangular"),
        (("a",), ("w2",), [["x"]], "the costs 'latency' hold <U1: give whole numbers"),
        (("a",), ("w2",), [[1.5]], r"the costs 'latency' of layer 'a' in format 'w2' are 1\.5: give whole numbers"),
        (("a",), ("w2",), [[-2]], "in format 'w2' are -2"),
        (("a",), ("w2",), [[1e19]], r"in format 'w2' are 1e\+19"),
    ],
)
def test_costs_that_make_no_sense_are_refused(layers: Any, formats: Any, cost: Any, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        CostTable("latency", "ns", layers, formats, cost)


def test_costs_must_not_take_the_name_of_a_budget() -> None:
    costs = CostTable("bops", "ns", ("a",), ("w2",), np.array([[1]]))
    with pytest.raises(InvalidInput, match="the costs 'bops' have the name of a built-in budget"):
        build(make_table([[1.0]], "w2"), Request({"bops": 1}, costs=[costs]))


def test_command_line_takes_tables_of_any_kind_minima_and_measured_costs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "table.csv").write_text("layer,shape,w2,w4\na,2x3,404,1\nb,2x3,3,2\n")
    (tmp_path / "latency.csv").write_text("layer,w2,w4\na,10,20\nb,10,20\n")
    call = ["solve", str(tmp_path / "table.csv"), "--costs", f"time:us={tmp_path / 'latency.csv'}", "--json"]
    assert main([*call, "--budget", "time=0.03ms", "--on", "missing=drop", "--at-least", "weight_bytes=1"]) == 0
    captured = capsys.readouterr()
    policy = json.loads(captured.out)
    assert [row["format"] for row in policy["layers"]] == ["w4", "w2"]
    assert policy["costs"]["time"] == 30
    assert "budget weight_bytes >= 1 changes nothing" in captured.err
    call += ["--budget", "time=1ms", "--on", "missing=drop"]
    assert main([*call, "--allow", "b=w2,w4", "--allow", "last=w2", "--target", "coreml"]) == 2
    assert "layer 'b': the target 'coreml' takes none of its formats" in capsys.readouterr().err
    assert main([*call, "--tie-rule", "^(?P<part>a|b)$", "--allow", "*=w2,w4"]) == 0
    policy = json.loads(capsys.readouterr().out)
    assert policy["ties"] == [["a", "b"]]
    assert [row["format"] for row in policy["layers"]] == ["w4", "w4"]
    call = call[:-4]
    assert main([*call, "--budget", "time=0.03ms"]) == 2
    assert "missing=drop" in capsys.readouterr().err
